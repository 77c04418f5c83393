"""The history's counters: store rows that the classifier's features are made of, grown once a (notification, kind)."""

import math
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from serving.errors import Refused
from serving.queue.store.database import Parameters
from serving.queue.store.transaction import Transaction
from serving.queue.values import as_json

RECORD = struct.Struct("<32sqdq")
EXPECTED = struct.Struct("<32sd")


class Increment(NamedTuple):
    """So many `more` for the counter, seen `at` (seconds since the epoch); `link` is kept when the row has none yet."""

    key: bytes
    more: int
    at: float
    link: int


def unpack(records: bytes) -> list[Increment]:
    """The increments in an array of the wire."""
    if len(records) % RECORD.size:
        raise Refused("malformed", f"increments come in records of {RECORD.size} octets")
    increments = list(map(Increment._make, RECORD.iter_unpack(records)))
    if not all(math.isfinite(each.at) for each in increments):
        raise Refused("malformed", "an increment is seen at no time")
    return increments


def expected(octets: bytes) -> bytes:
    """The array of counters that a reaction will grow, and until when, checked."""
    if len(octets) % EXPECTED.size:
        raise Refused("malformed", f"what a reaction adds to comes in records of {EXPECTED.size} octets")
    return octets


def ripen(transaction: Transaction, message: int, increments: Sequence[Increment] = ()) -> None:
    """Add what a message's arrival adds, the `increments` of this notification too, once none of its notifications is
    still being analysed; keep them until then.

    Then no notification's features hold its own message's arrival at another recipient, whatever the order.
    """
    transaction.once_written(_ripen, (message, increments))


def _ripen(transaction: Transaction, told: Sequence[tuple[int, Sequence[Increment]]]) -> None:
    """The same for all that were analysed by one transaction."""
    messages = sorted({message for message, _ in told})
    for message in messages:
        transaction.lock("lock_message", message=message)
    stages = [name for name, place in transaction.topology.places.items() if place.analyses]
    rows = transaction.all("messages_waiting", messages=as_json(messages), stages=as_json(stages))
    waiting = {row["message"] for row in rows}
    kept = [{"message": message, **_row(each)} for message, fresh in told if message in waiting for each in fresh]
    if kept:
        transaction.run_many("insert_growth", kept)
    ripe = [message for message in messages if message not in waiting]
    if ripe:
        _grow(transaction, _ripe(transaction, ripe, told))


def _ripe(
    transaction: Transaction, messages: Sequence[int], told: Sequence[tuple[int, Sequence[Increment]]]
) -> Iterable[Increment]:
    """What was kept for each of these messages, which is taken away, and what comes now; the messages in the order in
    which their last notification was analysed."""
    increments: dict[int, list[Increment]] = {message: [] for message in messages}
    kept = transaction.all("growth", messages=as_json(messages))
    for row in kept:
        increments[row["message"]].append(Increment(row["key"], row["count"], row["at"], row["link"]))
    if kept:
        transaction.run("delete_growth", messages=as_json(messages))
    for message, fresh in told:
        if message in increments:
            increments[message] = [*increments.pop(message), *fresh]  # behind those that were last before it
    return [each for of_message in increments.values() for each in of_message]


def react(transaction: Transaction, notification: int, at: float) -> bool:
    """Add the recipient's reaction to the counters that were named when the mail was analysed, as far as it came in
    time for them; once."""
    row = transaction.one("reaction_keys", id=notification)
    if row is None:
        raise Refused("not_found", "no such notification")
    records = list(EXPECTED.iter_unpack(row["reaction"]))
    if not records:
        return False
    increments = [Increment(key, 1, at, 0) for key, until in records if at <= until]
    fresh = transaction.run("insert_counted", id=notification, kind="acted").rowcount == 1
    _grow(transaction, increments if fresh else ())
    return fresh


def _grow(transaction: Transaction, increments: Iterable[Increment]) -> None:
    """One row a counter, in the order of their keys, in which all brokers lock them."""
    grown: dict[bytes, tuple[int, float, int]] = {}
    for key, more, at, link in increments:
        count, last, known = grown.get(key, (0, at, 0))
        grown[key] = count + more, max(last, at), known or link
    if grown:
        keys = sorted(grown)
        rows = as_json([grown[key] for key in keys])
        transaction.run("grow_counters", keys=b"".join(keys), rows=rows)


def _row(increment: Increment) -> Parameters:
    return {"key": increment.key, "count": increment.more, "at": increment.at, "link": increment.link}
