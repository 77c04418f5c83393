"""What an operator does by hand: look at what waits, let it go on, give it up, send a dead letter again."""

from typing import Any

from serving.errors import Refused
from serving.queue.store import hops, intake
from serving.queue.store.intake import NewMessage
from serving.queue.store.transaction import Transaction, merged
from serving.queue.values import from_json, identifier

Answer = dict[str, Any]


def retry(transaction: Transaction, id: str) -> Answer:
    """End the waiting of one notification now: for its next attempt, for its time, or for what it is parked for."""
    row = transaction.one("wake", id=identifier(id))
    if row is None:
        raise Refused("not_found", "no such notification waits")
    transaction.event(row["id"], row["stage"], "woken", row["stage"], {})
    transaction.touched.add(row["stage"])
    return {"id": id}


def kill(transaction: Transaction, id: str, cause: str) -> Answer:
    """Give up what waits, as a stage does; what is being worked on, or lies in a digest, is not touched."""
    row = transaction.one("waiting", id=identifier(id))
    if row is None:
        raise Refused("not_found", "no such notification waits")
    hops.bury(transaction, row, "killed", cause)
    return {"id": id}


def replay(transaction: Transaction, id: str) -> Answer:
    """Send a dead letter again, once: a new notification of the same body, with money and history of its own.

    The dead one stays what it is, and each names the other. Its key is free: it was the sender's, and this is not.
    """
    row = transaction.one("dead_letter", id=identifier(id))
    if row is None:
        raise Refused("not_found", "no such dead letter")
    facts = from_json(row["facts"])
    if "replayed" in facts:
        raise Refused("key_conflict", "it was sent again already")
    if not row["body"]:
        raise Refused("incomplete", "its body was deleted after the time of retention")
    people = [(row["recipient"], row["address"])]
    stage, first_facts = _beginning(transaction, id)
    first = {**first_facts, "replays": id}
    new = NewMessage(row["principal"], row["body"], people, None, b"", first, row["priority"])
    (again,) = intake.insert(transaction, new, stage, "replays").notifications
    transaction.run("note", id=identifier(id), facts=merged(row["facts"], {"replayed": str(again)}))
    transaction.event(identifier(id), None, "replayed", None, {"as": str(again)})
    return {"id": str(again), "of": id}


def _beginning(transaction: Transaction, id: str) -> tuple[str, dict[str, Any]]:
    """Where it started, which for a mail of our own is not where others do, and with what; what stages found out since
    is found out again."""
    row = transaction.one("first_event", id=identifier(id))
    if row is None or row["next"] not in transaction.topology.places:
        return transaction.topology.entry, {}
    return row["next"], from_json(row["detail"])
