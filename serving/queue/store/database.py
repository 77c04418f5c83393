"""What the store needs of a database: statements by name in one transaction at a time. SQLite and PostgreSQL are two.

A statement lies in `sql/<name>.sql`, with `/* <dialect>: … */` for what one dialect says more; where a dialect needs
another statement, it lies in `sql/<dialect>/<name>.sql`.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Protocol

HERE = Path(__file__).parent

Parameters = dict[str, Any]


class Row(Protocol):
    """A row of either database: values by name."""

    def __getitem__(self, name: str) -> Any: ...
    def keys(self) -> Any:
        """The columns' names."""
        ...


class Cursor(Protocol):
    """What a statement gave."""

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""
        ...

    def fetchone(self) -> Any:
        """The next row, or None."""
        ...

    def fetchall(self) -> list[Any]:
        """The rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class Database(ABC):
    """One connection, used by one thread at a time."""

    dialect: ClassVar[str]
    is_shared: ClassVar[bool]
    """Whether brokers of several machines may have it open."""
    failures: ClassVar[tuple[type[Exception], ...]]
    """Raised when the database itself failed: nothing of the transaction is kept."""
    value_failures: ClassVar[tuple[type[Exception], ...]]
    """Raised for values that it does not take: they end a statement, not the transaction."""

    @abstractmethod
    def begin(self) -> float:
        """Begin a transaction that will write; returns the time that holds for it, seconds since the epoch."""

    @abstractmethod
    def begin_reading(self) -> float:
        """Begin a transaction that sees one moment and writes nothing; returns the time."""

    @abstractmethod
    def execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Cursor:
        """Run a statement of this dialect, parameters as `:name`."""

    @abstractmethod
    def reader(self) -> "Database":
        """Another connection, that only reads."""

    @abstractmethod
    def tell(self, stages: set[str]) -> None:
        """Within the transaction: let other brokers know, once it is committed, that these stages may have work."""

    @abstractmethod
    def listen(self, heard: Callable[[set[str]], None]) -> None:
        """Call it, from another thread, with the stages that other brokers tell of."""

    @abstractmethod
    def interrupt(self) -> None:
        """End what runs, from another thread."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""

    @property
    def number(self) -> int:
        """Which of the brokers that have the store open at once this is, 0 to 63."""
        return 0

    def run(self, name: str, parameters: Parameters) -> Cursor:
        """Run a statement by name."""
        return self.execute(statement(name, self.dialect), parameters)

    @abstractmethod
    def run_many(self, name: str, rows: Sequence[Parameters]) -> None:
        """Run a statement that answers nothing once for each, in order, in as few round trips as it takes."""

    def keep(self, savepoint: str) -> None:
        """Make what was done since the savepoint a part of the transaction, and set it again."""
        self.execute(f"RELEASE {savepoint}")
        self.execute(f"SAVEPOINT {savepoint}")

    def commit(self) -> None:
        """End the transaction; returns when it is durable."""
        self.execute("COMMIT")

    def roll_back(self) -> None:
        """End the transaction, and none of it is kept."""
        self.execute("ROLLBACK")

    def may_succeed_now(self, error: Exception) -> bool:
        """Whether the verb, or the transaction, would fare better a second time: another broker came between."""
        del error
        return False


@cache
def statement(name: str, dialect: str) -> str:
    """The SQL of that name as the dialect has it."""
    own = HERE / "sql" / dialect / f"{name}.sql"
    text = (own if own.exists() else HERE / "sql" / f"{name}.sql").read_text(encoding="utf-8")
    return re.sub(rf"/\* {dialect}: (.*?) \*/", r"\1", text)
