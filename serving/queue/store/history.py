"""The history's counters: store rows that the classifier's features are made of, grown once a (notification, kind)."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from serving.errors import Refused
from serving.queue.store.transaction import Transaction

RECORD = struct.Struct("<32sqdq")
KEY = 32


@dataclass(frozen=True, slots=True)
class Increment:
    """`count` more for the counter, seen `at` (seconds since the epoch); `link` is kept when the row has none yet."""

    key: bytes
    count: int
    at: float
    link: int


def unpack(records: bytes) -> list[Increment]:
    """The increments in an array of the wire."""
    if len(records) % RECORD.size:
        raise Refused("malformed", f"increments come in records of {RECORD.size} octets")
    return [Increment(*fields) for fields in RECORD.iter_unpack(records)]


def keys(octets: bytes) -> bytes:
    """The array of counter keys, checked."""
    if len(octets) % KEY:
        raise Refused("malformed", f"a key has {KEY} octets")
    return octets


def grow_once(transaction: Transaction, notification: int, kind: str, increments: Iterable[Increment]) -> bool:
    """Add the increments unless this kind was counted for this notification before; whether it was added."""
    if transaction.run("insert_counted", id=notification, kind=kind).rowcount == 0:
        return False
    for increment in increments:
        transaction.run("grow_counter", key=increment.key, count=increment.count, at=increment.at, link=increment.link)
    return True


def react(transaction: Transaction, notification: int, at: float) -> bool:
    """Add the recipient's reaction to the counters that were named when the mail was analysed; once."""
    row = transaction.one("reaction_keys", id=notification)
    if row is None:
        raise Refused("not_found", "no such notification")
    keys = bytes(row["reaction"])
    if not keys:
        return False
    increments = [Increment(keys[i : i + KEY], 1, at, 0) for i in range(0, len(keys), KEY)]
    return grow_once(transaction, notification, "acted", increments)
