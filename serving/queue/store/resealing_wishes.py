"""The one wish that is sealed: a recipient's lists of senders and words (`lists`, in hexadecimal)."""

from collections import Counter
from typing import Any

from serving.queue.store.transaction import Transaction
from serving.queue.values import as_json, from_json

_DIGITS = 2


def counts(transaction: Transaction) -> Counter[str]:
    """How many lie under each key, by its id in hexadecimal."""
    return Counter({row["key"]: row["count"] for row in transaction.all("sealed_lists_counts")})


def page(transaction: Transaction, current: bytes, after: bytes, count: int) -> list[dict[str, Any]]:
    """Those under another key, from behind the recipient `after` on."""
    rows = transaction.all("sealed_lists", after=after, key=current.hex(), count=count)
    return [{"id": bytes(row["id"]).hex(), "sealed": row["sealed"]} for row in rows]


def replace(transaction: Transaction, recipient: bytes, head: bytes, sealed: bytes) -> int:
    """1 where the blob that begins with `head` still stood and this one took its place, else 0."""
    row = transaction.one("recipient", lookup=recipient)
    wishes = {} if row is None else from_json(row["wishes"])
    held = wishes.get("lists")
    if (
        row is None
        or not isinstance(held, str)
        or not held.startswith(head.hex())
        or len(held) != _DIGITS * len(sealed)
    ):
        return 0
    after = as_json({**wishes, "lists": sealed.hex()})
    return transaction.run("change_wishes", lookup=recipient, wishes=after, before=row["wishes"]).rowcount
