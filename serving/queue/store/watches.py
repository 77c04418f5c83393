"""What else a hop does where a watch is concerned: whoever watches an urgent notification is woken when it ends, is
acknowledged or comes back, and what a watch does is told in the history of what it watches.

A notification that is watched says so in its fact `watched`, the watch's id. A watch says in its fact `watch` what it
is about. The notifications that a watch sends to further people name it too, with the `escalated` step that they are.
"""

from collections.abc import Mapping
from typing import Any

from serving.queue.store.database import Row
from serving.queue.store.transaction import Transaction, merged
from serving.queue.values import from_json

TOLD = frozenset({"escalated", "acknowledged", "exhausted", "unwatched"})
"""Outcomes of a watch that the watched notification's history tells as well."""


def ended(transaction: Transaction, row: Row) -> None:
    """The notification came to an end: its watch, if there is one, is to look at once."""
    watch = _watch_of(row["facts"])
    if watch is not None:
        _wake(transaction, watch, "ended")


def bounced(transaction: Transaction, facts: str) -> None:
    """What a receiver had taken has come back for good, be it what is watched or what the watch sent on."""
    watch = _watch_of(facts)
    if watch is not None:
        _wake(transaction, watch, "bounced")


def acknowledged(transaction: Transaction, notification: int, kind: str, at: float) -> None:
    """Who received it has said `kind` of it: its watch is told, the first time, and is to look at once. What comes when
    the watch is over is told in the history of what it was about."""
    row = transaction.one("notification", id=notification)
    watch = None if row is None else _watch_of(row["facts"])
    held = None if watch is None else transaction.one("watch", id=watch)
    if row is None or watch is None or held is None:
        return
    known, step = from_json(held["facts"]), from_json(row["facts"]).get("escalated")
    if "acknowledged" not in known:
        said = {"at": at, **(step or {"round": 0, "step": 0})}
        transaction.run("note", id=watch, facts=merged(held["facts"], {"acknowledged": said}))
        if held["stage"] is None and step:
            transaction.event(int(known["watch"]), None, "acknowledged", None, said)
    if held["stage"] is not None:
        _wake(transaction, watch, kind)


def tell(transaction: Transaction, row: Row, outcome: str, facts: Mapping[str, Any]) -> None:
    """Where the row is a watch: what it did, in the history of what it watches."""
    if outcome not in TOLD:
        return
    about = from_json(row["facts"]).get("watch")
    if about is not None:
        transaction.event(int(about), row["stage"], outcome, None, facts.get(outcome) or {})


def given_up(transaction: Transaction, row: Row) -> None:
    """Where the row is a watch: nobody watches any more, and the sender is told so."""
    tell(transaction, row, "unwatched", {"unwatched": {"reason": "it was given up"}})


def _watch_of(facts: str) -> int | None:
    if '"watched"' not in facts:  # all but few, and looking is cheaper than reading
        return None
    watch = from_json(facts).get("watched")
    return None if watch is None else int(watch)


def _wake(transaction: Transaction, watch: int, cause: str) -> None:
    """Whoever works on it now and is about to park it is told too."""
    row = transaction.one("wake", id=watch)
    if row is None:
        transaction.run("wake_watch", id=watch)
        return
    transaction.event(watch, row["stage"], "woken", row["stage"], {"cause": cause})
    transaction.touched.add(row["stage"])
