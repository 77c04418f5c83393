"""One transaction of the store, as the verbs see it."""

import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from serving.errors import Refused
from serving.queue.limits import MAX_FACTS
from serving.queue.store.database import Cursor, Database, Parameters, Row, statement
from serving.queue.topology import Topology
from serving.queue.values import as_json, encode, from_json

MAX_ID = 1 << 63


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


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A verb that says beforehand which rows decide: a lease's, by id, fence and owner, or idempotency keys', by
    principal and key. One statement reads those of a whole transaction."""

    act: Callable[["Transaction"], Any]
    lease: tuple[int, int, str] | None = None
    keys: Collection[tuple[str, str]] = ()

    def __call__(self, transaction: "Transaction") -> Any:
        return self.act(transaction)


@dataclass(frozen=True, slots=True)
class Afterwards:
    """A verb that runs behind all others of its transaction: it takes what they leave, and none has to be written
    before its time for its sake."""

    act: Callable[["Transaction"], Any]

    def __call__(self, transaction: "Transaction") -> Any:
        return self.act(transaction)


class Unsettled(Exception):
    """What was run for many verbs at once was refused, and it is unknown whose it was: do it all again, carefully."""


@dataclass(slots=True)
class Transaction:
    """Statements by name at one moment (`now`, seconds since the epoch). `touched` collects stages that got work.

    Writes that nothing depends on yet wait (`later`) and are run together, before the next statement that is not one
    of them, and then what is to be done once they are (`once_written`): what a statement sees is the same as if nothing
    had waited.

    A verb whose kind is seldom refused has no savepoint but by a `guard`: when it fails after it has written all is
    done again, `is_careful`. Then nothing waits, and each verb has one. Where others write too (`is_shared`), each has.
    """

    database: Database
    topology: Topology
    identifiers: Identifiers
    now: float
    is_careful: bool = False
    touched: set[str] = field(default_factory=set)
    _waiting: list[tuple[str, Parameters]] = field(default_factory=list)
    _then: list[tuple["Then", Any]] = field(default_factory=list)
    _leases: dict[tuple[int, int, str], Row] = field(default_factory=dict)
    _keys: dict[tuple[str, str], Row | None] = field(default_factory=dict)
    _begun: tuple[int, int] = (0, 0)
    _needs_savepoint: bool = False
    _has_savepoint: bool = False
    _is_guarded: bool = False
    _has_written: bool = False

    def foresee(self, verbs: Iterable[object]) -> None:
        """Read what these verbs will decide by. Raises Unsettled where one of them names what no database takes."""
        foreseen = [] if self.is_careful else [verb for verb in verbs if isinstance(verb, Foreseen)]
        leases = [verb.lease[0] for verb in foreseen if verb.lease and verb.lease[0] < MAX_ID]
        keys = {key for verb in foreseen for key in verb.keys}
        with self._whoever_is_to_blame():
            self._foresee(leases, keys)

    def begin(self, verb: object) -> None:
        """The verb begins; what it does is part of the transaction unless `undo` is called before the next begins."""
        self._begun = len(self._waiting), len(self._then)
        self._needs_savepoint = (
            self.is_careful or self.database.is_shared or not isinstance(verb, (Foreseen, Afterwards))
        )
        self._is_guarded = self._has_written = False

    def guard(self) -> None:
        """What follows may be refused when the verb has written already, and that is nothing out of the ordinary."""
        if not self._is_guarded:
            self._save()

    def undo(self) -> None:
        """The verb did nothing; Unsettled where it has written and no savepoint was set before."""
        if self._has_written:
            raise Unsettled
        waiting, then = self._begun
        del self._waiting[waiting:], self._then[then:]
        if self._is_guarded:
            self.database.execute("ROLLBACK TO verb")

    def settle(self) -> None:
        """Run what waits; Unsettled where a row of it is refused."""
        with self._whoever_is_to_blame():
            self._run_waiting()

    def run(self, name: str, /, **parameters: Any) -> Cursor:
        """Execute a named statement; `now` is always bound."""
        if name not in APART:
            self._settle_before(name)
        return self.database.run(name, {"now": self.now, **parameters})

    def run_many(self, name: str, rows: Sequence[Parameters]) -> None:
        """Execute a named statement that answers nothing once for each row, in order."""
        self._settle_before(name)
        self.database.run_many(name, [{"now": self.now, **row} for row in rows])

    def later(self, name: str, /, **parameters: Any) -> None:
        """A write of `WAITING`, to be run before anything can miss it."""
        if self.is_careful and self._needs_savepoint:
            self._save()
        self._waiting.append((name, parameters))
        if self.is_careful:
            self._run_waiting()

    def once_written(self, then: "Then", what: Any) -> None:
        """Call `then` once what waits is written, with all that it was told in `what`, in their order."""
        self._then.append((then, what))
        if self.is_careful:
            self._run_waiting()

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

    def leased(self, id_: int, fence: int, owner: str) -> Row | None:
        """The row of a lease, None when it is over or somebody else's; foreseen at most once, as it will change."""
        row = self._leases.pop((id_, fence, owner), None)
        return self.one("leased", id=id_, fence=fence, owner=owner) if row is None else row

    def find_key(self, principal: str, key: str) -> Row | None:
        """What was accepted under an idempotency key."""
        if (principal, key) in self._keys:
            return self._keys[principal, key]
        return self.one("find_idempotency", principal=principal, key=key)

    def add_key(self, principal: str, key: str, digest: bytes, message: int) -> None:
        """From now on the key is this message's."""
        self._keys.pop((principal, key), None)
        self.later("insert_idempotency", principal=principal, key=key, digest=digest, message=message)

    def event(
        self, notification: int, stage: str | None, kind: str, next_: str | None, detail: Mapping[str, Any]
    ) -> None:
        """Append to the notification's history."""
        self.later(
            "insert_event",
            id=notification,
            stage=stage,
            kind=kind,
            next=next_,
            detail=as_json(detail) if detail else "{}",
        )

    def new_id(self) -> int:
        """A fresh id."""
        return self.identifiers.next(self.now)

    def _settle_before(self, name: str) -> None:
        """What waits comes first, and the verb can be undone, or it is known that it cannot."""
        if self._needs_savepoint:
            self._save()
        if self._waiting or self._then:
            self._settle_within()
        if not self._is_guarded and not is_read(name, self.database.dialect):
            self._has_written = True
        if self._leases and changes_leases(name, self.database.dialect):
            self._leases.clear()

    def _settle_within(self) -> None:
        """What waits is written while a verb runs; what of it is the verb's own cannot be undone but by a guard."""
        if self._is_guarded:
            self._run_waiting()
            return
        has_written = (len(self._waiting), len(self._then)) != self._begun
        self.settle()
        self._has_written = has_written

    def _foresee(self, leases: list[int], keys: set[tuple[str, str]]) -> None:
        if len(leases) > 1:
            rows = self.all("leased_among", ids=as_json(leases))
            self._leases = {(row["id"], row["fence"], row["owner"]): row for row in rows}
        if len(keys) > 1:
            rows = self.all("find_idempotency_among", keys=as_json(sorted(keys)))
            self._keys = {**dict.fromkeys(keys), **{(row["principal"], row["key"]): row for row in rows}}

    @contextmanager
    def _whoever_is_to_blame(self) -> Iterator[None]:
        """Failures of the store itself pass; for any other it is unknown which verb's it is: Unsettled."""
        try:
            yield
        except self.database.value_failures as error:
            raise Unsettled from error
        except self.database.failures:
            raise
        except Exception as error:
            raise Unsettled from error

    def _save(self) -> None:
        """The verb's savepoint, behind what the verbs before it left; theirs is not needed any more."""
        waiting, then = self._begun
        own, self._waiting = self._waiting[waiting:], self._waiting[:waiting]
        own_then, self._then = self._then[then:], self._then[:then]
        self.settle()
        self._waiting, self._then, self._begun = own, own_then, (0, 0)
        if self._has_savepoint:
            self.database.keep("verb")
        else:
            self.database.execute("SAVEPOINT verb")
        self._has_savepoint, self._needs_savepoint, self._is_guarded = True, False, True

    def _run_waiting(self) -> None:
        """Each statement for all its rows at once, then what is to follow."""
        waiting, self._waiting = self._waiting, []
        for name, takes_all in WAITING.items() if waiting else ():
            rows = [parameters for each, parameters in waiting if each == name]
            if rows and takes_all:
                self.database.run(name, {"now": self.now, "rows": as_json(_numbered(rows))})
            elif rows:
                self.database.run_many(name, [{"now": self.now, **parameters} for parameters in rows])
        following, self._then, self._begun = self._then, [], (0, 0)
        for then in dict.fromkeys(then for then, _ in following):
            then(self, [what for each, what in following if each is then])


Then = Callable[[Transaction, Sequence[Any]], None]

WAITING = {
    "insert_message": False,
    "insert_notification": False,
    "insert_idempotency": False,
    "insert_envelope": False,
    "insert_counted": False,
    "set_reaction": False,
    "note": False,
    "move": True,
    "delete_envelope": True,
    "insert_event": True,
    "insert_webhook": True,
}
"""Writes that may wait, in an order in which none comes before what it refers to; and whether one statement takes all
of them, as a JSON array of objects (`:rows`, in which octets have no place). While it runs, other threads do."""

APART = frozenset({"offset", "principal", "principal_domains", "recipient", "suppressed"})
"""Reads of what nothing that waits writes: they see the same before and after it, and leave nothing to be undone."""


@cache
def is_read(name: str, dialect: str) -> bool:
    """Whether the statement writes nothing."""
    return statement(name, dialect).lstrip().startswith(("SELECT", "WITH"))


@cache
def changes_leases(name: str, dialect: str) -> bool:
    """Whether the statement may change a row that is leased."""
    return "UPDATE notification" in statement(name, dialect) and name not in ("claim", "set_reaction")


def _numbered(rows: Iterable[Parameters]) -> list[Parameters]:
    """With `nth`: the how many-th of its notification each is."""
    seen: Counter[int] = Counter()
    numbered = []
    for row in rows:
        seen[row["id"]] += 1
        numbered.append({**row, "nth": seen[row["id"]]})
    return numbered


def merged(facts: str, more: Mapping[str, Any]) -> str:
    """The facts with more of them, as JSON; Refused when they grow over the limit."""
    if not more:
        return facts
    octets = encode({**from_json(facts), **more})
    if len(octets) > MAX_FACTS:
        raise Refused("too_large", f"facts over {MAX_FACTS} octets")
    return octets.decode()
