"""What recipients answer: kept for whoever passes it on, each once, and no more in a day than a person writes."""

from typing import Literal

from serving.queue.limits import check_recipient
from serving.queue.store import intake
from serving.queue.store.hops import NORMAL
from serving.queue.store.intake import NewMessage
from serving.queue.store.transaction import Transaction
from serving.queue.values import from_json

MOST_IN_A_DAY = 20
"""Answers to one notification."""
_DAY = 86_400.0

State = Literal["kept", "known", "unknown", "not_theirs", "too_many"]


def keep(transaction: Transaction, about: int, recipient: bytes, address: bytes, body: bytes, digest: bytes) -> State:
    """Make the sealed answer a notification of our own, about another one, that waits to be passed on.

    `known`, and nothing is done, where this answer was kept before; `unknown` where there is no such notification or
    it is one of our own; `not_theirs` where `recipient` is not whom it was for; else `too_many`, for today.
    """
    check_recipient(recipient, address)
    row = transaction.one("reaction_keys", id=about)  # which locks it, where there are several brokers
    found = transaction.one("notification", id=about)
    if row is None or found is None or _is_of_ours(found["facts"]):
        return "unknown"
    if bytes(row["recipient"]) != recipient:
        return "not_theirs"
    key = f"{about}:answer:{digest.hex()}"
    if transaction.find_key("", key) is not None:
        return "known"
    counted = transaction.one("answers_since", id=about, since=transaction.now - _DAY)
    if counted is not None and counted["count"] >= MOST_IN_A_DAY:
        return "too_many"
    new = NewMessage("", body, [(recipient, address)], key, digest, {"answer": str(about)}, NORMAL)
    ids = intake.insert(transaction, new, transaction.topology.answers, "answers")
    transaction.add_key("", key, digest, ids.message)
    transaction.event(about, None, "answered", None, {"answer": str(ids.notifications[0])})
    return "kept"


def _is_of_ours(facts: str) -> bool:
    """Whether it is a digest, a notice or somebody's answer: nothing of these has an address for answers."""
    held = from_json(facts)
    return "notice" in held or "answer" in held or held.get("waiver") == "digest"
