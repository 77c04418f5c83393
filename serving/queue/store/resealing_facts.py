"""The one fact that is sealed: what authentication found of a relayed mail (`results`, in base64), until it has ended.

The first 6 characters of base64 hold the key's id, and the first 48 the 36 octets that no two sealings have in common.
"""

from base64 import b64decode, b64encode
from binascii import Error
from collections import Counter
from typing import Any

from serving.queue.store.transaction import Transaction, merged
from serving.queue.values import from_json

HEAD = 36
_KEY = 4


def counts(transaction: Transaction) -> Counter[str]:
    """How many lie under each key, by its id in hexadecimal."""
    found: Counter[str] = Counter()
    for row in transaction.all("sealed_results_counts"):
        found[_octets(row["start"] + "AA")[:_KEY].hex()] += row["count"]
    return found


def page(transaction: Transaction, current: bytes, after: int, count: int) -> list[dict[str, Any]]:
    """Those under another key, from behind the notification `after` on. Keys whose first 30 bits agree pass for one:
    then some are left, and counted as such."""
    start = b64encode(current)[:5].decode()
    rows = transaction.all("sealed_results", after=after, start=start, count=count)
    return [{"id": str(row["id"]), "sealed": _octets(row["sealed"]).hex()} for row in rows]


def replace(transaction: Transaction, notification: int, head: bytes, sealed: bytes) -> int:
    """1 where the blob that begins with `head` still stood and this one took its place, else 0."""
    row = transaction.one("live_facts", id=notification)
    held = _octets(from_json(row["facts"]).get("results", "")) if row is not None else b""
    if row is None or held[:HEAD] != head or len(held) != len(sealed):
        return 0
    facts = merged(row["facts"], {"results": b64encode(sealed).decode()})
    return transaction.run("reseal_results", id=notification, facts=facts, before=row["facts"]).rowcount


def _octets(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except Error:
        return b""
