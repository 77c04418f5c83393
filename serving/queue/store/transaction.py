"""One transaction of the store, as the verbs see it."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from serving.errors import Refused
from serving.queue.limits import MAX_FACTS
from serving.queue.store.database import Cursor, Database, Row
from serving.queue.topology import Topology


class Identifiers:
    """63-bit ids that grow with time: 43 bits of milliseconds, 6 of the broker's number, 14 that start at random."""

    def __init__(self, broker: int = 0) -> None:
        self.broker = broker
        self._moment = self._count = 0

    def next(self, now: float) -> int:
        """An id larger than any before it in this process, and unlike any of a broker with another number."""
        moment = int(now * 1000)
        if moment > self._moment:
            self._moment, self._count = moment, secrets.randbits(13)
        elif self._count + 1 < 1 << 14:
            self._count += 1
        else:
            self._moment, self._count = self._moment + 1, 0
        return self._moment << 20 | self.broker << 14 | self._count


def earliest(moment: float) -> int:
    """No id that was made at that time, seconds since the epoch, or later is smaller."""
    return max(int(moment * 1000), 0) << 20


@dataclass(slots=True)
class Transaction:
    """Statements by name at one moment (`now`, seconds since the epoch). `touched` collects stages that got work."""

    database: Database
    topology: Topology
    identifiers: Identifiers
    now: float
    touched: set[str] = field(default_factory=set)

    def run(self, name: str, /, **parameters: Any) -> Cursor:
        """Execute a named statement; `now` is always bound."""
        return self.database.run(name, {"now": self.now, **parameters})

    def lock(self, name: str, /, **parameters: Any) -> None:
        """Run a statement that locks, where other brokers may be about the same; SQLite has but one."""
        if self.database.is_shared:
            self.run(name, **parameters)

    def one(self, name: str, /, **parameters: Any) -> Row | None:
        """The first row, or None."""
        row: Row | None = self.run(name, **parameters).fetchone()
        return row

    def all(self, name: str, /, **parameters: Any) -> list[Row]:
        """All rows."""
        return self.run(name, **parameters).fetchall()

    def event(
        self, notification: int, stage: str | None, kind: str, next_: str | None, detail: Mapping[str, Any]
    ) -> None:
        """Append to the notification's history."""
        self.run("insert_event", id=notification, stage=stage, kind=kind, next=next_, detail=json.dumps(detail))

    def new_id(self) -> int:
        """A fresh id."""
        return self.identifiers.next(self.now)


def merged(facts: str, more: Mapping[str, Any]) -> str:
    """The facts with more of them, as JSON; Refused when they grow over the limit."""
    if not more:
        return facts
    text = json.dumps({**json.loads(facts), **more}, separators=(",", ":"))
    if len(text.encode()) > MAX_FACTS:
        raise Refused("too_large", f"facts over {MAX_FACTS} octets")
    return text
