"""What senders are told became of their mail, and what was said later of mail that a receiver had taken."""

from collections.abc import Mapping, Sequence
from typing import Any

from serving.errors import Refused
from serving.queue.store import intake, suppression, watches
from serving.queue.store.database import Row
from serving.queue.store.transaction import Transaction
from serving.queue.values import from_json, identifier

Answer = dict[str, Any]

LATEST = 14 * 86_400.0
"""Seconds after a mail was sent in which a report of it suppresses: servers try for five days, and say so then. Whoever
sees the mail later, forwarded or kept, sees in the clear where it bounces to, and must not silence its recipient."""

EVENTS = {"failed": "bounced", "delayed": "delayed", "delivered": "confirmed"}
"""What the history calls each word of a later report."""


def report(transaction: Transaction, about: str, action: str, recipient: str, address: str, body: str) -> Answer:
    """Send a report about a notification to its sender, open where nothing can be sealed, and say so in its history;
    the same again for one of that action that was sent, however long ago."""
    number = identifier(about)
    _locked(transaction, number)
    for row in transaction.all("reported", id=number):
        detail = from_json(row["detail"])
        if detail["action"] == action:
            return {"id": detail["as"], "fresh": False}
    octets = (bytes.fromhex(text) for text in (recipient, address, body))
    ids = intake.notice(transaction, number, action, *octets, is_open=True)
    name = str(ids.notifications[0])
    transaction.event(number, None, "reported", None, {"action": action, "as": name})
    transaction.run("tell_bounce", id=number, action=action)
    return {"id": name, "fresh": True}


def bounce(
    transaction: Transaction, id: str, action: str, reply: str, named: Sequence[str], suppress_for: float | None
) -> Answer:
    """Write down what was said later of mail that a receiver had taken, once for each action. That it failed is told to
    who watches it; the state stays what it was, so that no webhook is told.

    With `suppress_for` seconds nothing more is sent to its recipient, if the report comes in time and is about that
    one: one of `named`, the lookups of the addresses that it holds. `fresh` is false where nothing was written,
    `not_found` raised where there is no such notification.
    """
    if action not in EVENTS:
        raise Refused("malformed", f"an action is one of {', '.join(EVENTS)}")
    number = identifier(id)
    row = _locked(transaction, number)
    is_told = int(action == "delayed")  # the next server still tries, and says so itself if it ends
    facts = from_json(row["facts"])
    fresh = "receipt" in facts and bool(
        transaction.run("insert_bounce", id=number, action=action, reply=reply, is_told=is_told).rowcount
    )
    lookup = bytes(row["recipient"])
    is_about_recipient = lookup.hex() in named
    if fresh:
        detail = {"reply": reply, **({} if is_about_recipient else {"of": "another address"})}
        transaction.event(number, None, EVENTS[action], None, detail)
        if action == "failed":
            watches.bounced(transaction, row["facts"])
    is_suppressed = fresh and suppress_for is not None and is_about_recipient and _is_in_time(transaction, facts)
    if is_suppressed:
        suppression.suppress(transaction, lookup.hex(), reply, suppress_for)
    return {"fresh": fresh, "suppressed": is_suppressed}


def close_bounce(transaction: Transaction, id: str, action: str) -> Answer:
    """Nobody is to be told of it."""
    closed = transaction.run("tell_bounce", id=identifier(id), action=action).rowcount
    return {"closed": bool(closed)}


def _is_in_time(transaction: Transaction, facts: Mapping[str, Any]) -> bool:
    at = facts.get("sending", {}).get("at", transaction.now)
    return bool(transaction.now - at <= LATEST)


def _locked(transaction: Transaction, number: int) -> Row:
    row = transaction.one("bounced", id=number)
    if row is None:
        raise Refused("not_found", "no such notification")
    return row
