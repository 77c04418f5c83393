"""Who talks to the queue in these tests: the store without a broker, and a client that writes its own octets."""

import os
import re
import select
import socket
import sqlite3
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from serving.errors import Refused
from serving.queue import wire
from serving.queue.client import Recipient, Submission
from serving.queue.store import hops, intake, ledger
from serving.queue.store.database import HERE, Database
from serving.queue.store.hops import LeaseName, Pending
from serving.queue.store.intake import Ids, NewMessage
from serving.queue.store.ledger import Posting
from serving.queue.store.sqlite import SQLite
from serving.queue.store.transaction import Identifiers, Transaction
from serving.topology import topology

Answer = TypeVar("Answer")
Steps = tuple[tuple[str, str, dict[str, Any]], ...]
OWNER = "1:1"
LOOKUP = bytes(range(32))
WALLET = f"wallet:{LOOKUP.hex()}"


def submission(key: str | None = None, recipients: int = 1, **values: Any) -> Submission:
    """A message for `recipients` recipients."""
    people = tuple(Recipient(bytes([i % 256]) * 32, b"sealed address") for i in range(recipients))
    values = {"principal": "sender", "body": b"sealed body", "digest": b"d" * 32, **values}
    return Submission(recipients=people, key=key, **values)


class Store:
    """The real store on a file or a server, a transaction a call, at a time that the test sets."""

    def __init__(self, where: Path | Database) -> None:
        self.database = SQLite.open(where) if isinstance(where, Path) else where
        self.now = 1_000_000.0
        self._identifiers = Identifiers()
        self._topology = topology()

    @property
    def connection(self) -> sqlite3.Connection:
        """SQLite's own, for tests of what is its own."""
        assert isinstance(self.database, SQLite)
        return self.database.connection

    def close(self) -> None:
        """Close the connection."""
        self.database.close()

    def do(self, verb: Callable[[Transaction], Answer]) -> Answer:
        """Run the verb in a transaction of its own; what it raises rolls it back."""
        self.database.begin()
        try:
            transaction = Transaction(self.database, self._topology, self._identifiers, self.now)
            answer = verb(transaction)
            transaction.settle()
        except BaseException:
            self.database.roll_back()
            raise
        self.database.commit()
        return answer

    def sql(self, statement: str, **values: Any) -> list[Any]:
        """A statement of the test's own, parameters as `:name`; its rows where it has any."""
        cursor = self.database.execute(statement, values)
        return cursor.fetchall() if statement.startswith("SELECT") else []

    def accept(
        self, *, recipients: int = 1, urgent: bool = False, key: str | None = None, lookup: bytes = LOOKUP
    ) -> Ids:
        """A message with that many recipients, all the same person."""
        people = [(lookup, b"address")] * recipients
        priority = hops.URGENT if urgent else hops.NORMAL
        return self.do(lambda t: intake.accept(t, NewMessage("sender", b"body", people, key, b"d", {}, priority)))

    def claim(self, stage: str, count: int = 1, **options: Any) -> list[hops.Claimed]:
        """Lease it for a minute."""
        owner = options.pop("owner", OWNER)
        return self.do(lambda t: hops.claim(t, stage, count, owner, 60.0, **options))

    def lease(self, stage: str) -> LeaseName:
        """The next lease of the stage."""
        (claimed,) = self.claim(stage)
        return LeaseName(claimed.row["id"], claimed.row["fence"], OWNER)

    def complete(self, name: LeaseName, outcome: str, until: float | None = None, **pending: Any) -> None:
        """The hop."""
        self.do(lambda t: hops.complete(t, name, outcome, Pending(**pending), until))

    def walk(self, *steps: tuple[str, str, dict[str, Any]]) -> LeaseName:
        """Claim and complete in turn: (stage, outcome, what the hop collects and `until`)."""
        for stage, outcome, values in steps:
            name = self.lease(stage)
            self.complete(name, outcome, **values)
        return name

    def fund(self, amount: int) -> None:
        """Money for the recipient."""
        postings = [Posting("clearing:test", -amount), Posting(WALLET, amount)]
        self.do(lambda t: ledger.transfer(t, f"top-up {self.now} {amount}", postings, "EUR"))

    def row(self, id_: int) -> dict[str, Any]:
        """The notification's row."""
        return dict(self.sql("SELECT * FROM notification WHERE id = :id", id=id_)[0])

    def kinds(self, id_: int) -> list[str]:
        """Its history."""
        rows = self.sql("SELECT kind FROM event WHERE notification = :id ORDER BY seq", id=id_)
        return [row["kind"] for row in rows]

    def dump(self) -> list[str]:
        """Every row of every table, to be compared; not what numbers rows that lie in no order but that one."""
        tables = re.findall(r"CREATE TABLE (\w+)", (HERE / "schema" / "sqlite.sql").read_text(encoding="utf-8"))
        rows = ((table, row) for table in tables for row in self.sql(f"SELECT * FROM {table}"))  # noqa: S608 - our own
        return sorted(
            f"{table} {sorted(each for each in dict(row).items() if each[0] != 'position')}" for table, row in rows
        )

    def balance(self, account: str) -> int:
        """In minor units."""
        rows = self.sql("SELECT balance FROM account WHERE name = :name", name=account)
        return int(rows[0]["balance"]) if rows else 0


TO_ENCRYPTION: Steps = (("authentication", "authenticated", {}), ("classification", "urgent", {}))
TO_PAYMENT: Steps = (
    *TO_ENCRYPTION,
    ("encryption", "enclosed", {"envelope": b"e", "facts": {"envelope": {"form": "sealed"}}}),
)
TO_DIGEST: Steps = (("authentication", "unverified", {}), ("triage", "digested", {"until": 1_000_000.0}))


def held(id_: int, amount: int = 5) -> dict[str, Any]:
    """What payment's hop collects."""
    return {"postings": [Posting(WALLET, -amount), Posting(f"hold:{id_}", amount)], "currency": "EUR"}


def refusal(store: Store, act: Callable[[], Any]) -> tuple[str, bool]:
    """Why it was refused, and whether nothing at all was changed."""
    before = store.dump()
    with pytest.raises(Refused) as refused:
        act()
    return refused.value.reason, store.dump() == before


class Raw:
    """A blocking client that sends what it is told, right or wrong, and remembers every event."""

    PROTOCOL = wire.load_clarion()

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(5.0)
        self.socket.connect(str(path))
        self.kinds = {1: "wl_display", 2: "wl_registry", 3: "clarion_manager_v1"}
        self.events: list[tuple[int, str, list[Any]]] = []
        self.seen: set[str] = set()
        self.is_over = False
        self._unread = b""
        self._fds: deque[int] = deque()

    def bind(self, version: int = 1) -> "Raw":
        """Get to the manager, object 3."""
        self.send(1, "get_registry", 2)
        self.send(2, "bind", 1, "clarion_manager_v1", version, 3)
        return self

    def make(self, kind: str, object_id: int, *values: Any) -> "Raw":
        """A producer, consumer or directory."""
        self.kinds[object_id] = f"clarion_{kind}_v1"
        self.send(3, f"create_{kind}", object_id, *values)
        return self

    def send(self, object_id: int, name: str, *values: Any) -> None:
        """A request; its descriptors are closed here afterwards."""
        octets, fds = self.PROTOCOL[self.kinds[object_id]].request(name).encode(object_id, values)
        socket.send_fds(self.socket, [octets], fds)
        for fd in fds:
            os.close(fd)

    def wait(self, name: str, seconds: float = 5.0) -> list[Any]:
        """The next event of that name; fails when the connection ends first."""
        while True:
            for position, (_, found, values) in enumerate(self.events):
                if found == name:
                    del self.events[: position + 1]
                    return values
            assert self._read(seconds), f"no {name}"

    def wait_over(self, seconds: float = 5.0) -> None:
        """Until the broker has closed the connection."""
        while not self.is_over:
            assert self._read(seconds), "still open"

    def close(self) -> None:
        """Go."""
        self.socket.close()
        for fd in self._fds:
            os.close(fd)

    def _read(self, seconds: float) -> bool:
        if self.is_over or not select.select([self.socket], [], [], seconds)[0]:
            return False
        try:
            octets, fds, _, _ = socket.recv_fds(self.socket, 1 << 16, 28)
        except ConnectionError:
            octets, fds = b"", []
        self._fds.extend(fds)
        self._unread += octets
        self.is_over = not octets
        self._parse()
        return True

    def _parse(self) -> None:
        while len(self._unread) >= 8:
            object_id, word = wire.HEADER.unpack_from(self._unread)
            if len(self._unread) < word >> 16:
                return
            payload, self._unread = self._unread[8 : word >> 16], self._unread[word >> 16 :]
            event = self.PROTOCOL[self.kinds.get(object_id, "wl_callback")].events[word & 0xFFFF]
            self.seen.add(event.name)
            self.events.append((object_id, event.name, event.decode(memoryview(payload), self._fds)))
