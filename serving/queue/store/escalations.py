"""How urgent mail escalates: the sealed chain of a recipient, the watch over a notification, and what it sends on."""

from typing import Any

from serving.errors import Refused
from serving.queue.limits import check_recipient
from serving.queue.store import intake
from serving.queue.store.hops import URGENT
from serving.queue.store.intake import NewMessage
from serving.queue.store.transaction import Transaction
from serving.queue.values import from_json, identifier

Answer = dict[str, Any]
Rows = list[dict[str, Any]]

LARGEST_CHAIN = 1 << 15
"""Octets of a sealed chain."""


def set_escalation(transaction: Transaction, lookup: str, chain: str | None) -> Answer:
    """Give an enrolled recipient this sealed chain, None for none; Refused `not_found` where nobody is enrolled."""
    key = bytes.fromhex(lookup)
    if transaction.one("recipient", lookup=key) is None:
        raise Refused("not_found", "no such recipient is enrolled")
    if chain is None:
        return {"changed": transaction.run("delete_escalation", lookup=key).rowcount == 1}
    octets = bytes.fromhex(chain)
    if not 0 < len(octets) <= LARGEST_CHAIN:
        raise Refused("too_large", f"a sealed chain has 1 to {LARGEST_CHAIN} octets")
    transaction.run("insert_escalation", lookup=key, chain=octets)
    return {"changed": True}


def escalation(transaction: Transaction, lookup: str) -> Rows:
    """A recipient's sealed chain."""
    row = transaction.one("escalation", lookup=bytes.fromhex(lookup))
    return [] if row is None else [{"chain": bytes(row["chain"]).hex()}]


def watch(transaction: Transaction, about: str) -> Answer:
    """Begin to watch a notification, once: a notification of our own, about nothing that anybody else is sent."""
    row = transaction.one("notification", id=identifier(about))
    if row is None:
        raise Refused("not_found", "no such notification")
    new = NewMessage("", b"", [(bytes(row["recipient"]), b"")], f"{about}:watch", b"", {"watch": about}, URGENT)
    ids = intake.insert_once(transaction, new, transaction.topology.watch, "watches")
    (id_,) = map(str, ids.notifications)
    if not ids.duplicate:
        transaction.event(int(about), None, "watched", None, {"watch": id_})
    return {"id": id_}


def watched(transaction: Transaction, id: str) -> Rows:
    """How a watched notification stands: its state and stage, whose message it is, since when (seconds since the epoch)
    it is at that stage or has that end, and when its recipient first acknowledged it. `unpaid`: nobody paid in time;
    `killed`: an operator gave it up; `bounced`: it came back after its receiver had taken it."""
    row = transaction.one("watched", id=identifier(id))
    if row is None:
        return []
    facts = from_json(row["facts"])
    return [
        {
            "state": row["state"],
            "stage": row["stage"],
            "principal": row["principal"],
            "accepted_at": row["accepted_at"],
            "since": row["since"],
            "acknowledged_at": row["acknowledged_at"],
            "killed": bool(row["killed"]),
            "bounced": bool(row["bounced"]),
            "unpaid": bool(facts.get("lapsed")) or "expired" in facts or "triage" in facts,
        }
    ]


def escalate(transaction: Transaction, watch: str, round: int, step: int, recipient: str, address: str) -> Answer:
    """Send what is watched to a further person: a new notification of the same body, free, once for each step.

    Refused `incomplete` where the body was deleted after the time of retention.
    """
    people = (bytes.fromhex(recipient), bytes.fromhex(address))
    check_recipient(*people)
    held = transaction.one("watch", id=identifier(watch))
    about = None if held is None else from_json(held["facts"]).get("watch")
    row = None if about is None else transaction.one("notification", id=identifier(about))
    if row is None:
        raise Refused("not_found", "no such watch")
    body = transaction.one("message_body", id=row["message"])
    if body is None or not body["body"]:
        raise Refused("incomplete", "its body was deleted after the time of retention")
    at = {"round": _count(round), "step": _count(step)}
    facts = {"waiver": "escalated", "escalated": at, "watched": watch}
    new = NewMessage("", bytes(body["body"]), [people], f"{watch}:{round}:{step}", b"", facts, URGENT)
    ids = intake.insert_once(transaction, new, transaction.topology.digest_entry, "escalates")
    return {"id": str(ids.notifications[0])}


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 1_000:
        raise Refused("malformed", "rounds and steps are counted from 1")
    return value
