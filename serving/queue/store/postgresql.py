"""The store in a PostgreSQL database that several brokers share, each on its own machine.

A broker's transactions are READ COMMITTED. Rows that a verb decides by are locked (`FOR UPDATE`), claims skip what
another broker has locked, and whoever appends to the ledger holds its one lock until the commit.
"""

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import psycopg
from psycopg.rows import dict_row

from serving.errors import ConfigurationError, NotThereYet
from serving.queue.store.database import HERE, Cursor, Database, Parameters, statement
from serving.queue.store.migrating import NUMBER, TABLE, check, migrate

CHANNEL = "clarion"
BROKERS = 64

_LISTEN_AGAIN = 1.0
_CLOCK = "SELECT extract(epoch FROM clock_timestamp())::float8 AS now"
_NUMBERS, _SCHEMA = 7_261, 7_263  # advisory locks: brokers' numbers, making the schema; 7262 is the ledger's
_NAMED = re.compile(r"(?<![:\w]):([a-z_]+)")
_AGAIN = (psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)


class PostgreSQL(Database):
    """A connection that is made anew when the server was away; times are the server's."""

    dialect, is_shared = "postgresql", True
    failures = (psycopg.Error,)
    value_failures = (psycopg.IntegrityError, psycopg.DataError, psycopg.ProgrammingError, psycopg.NotSupportedError)

    def __init__(self, address: str, *, is_broker: bool) -> None:
        self._address, self._is_broker = address, is_broker
        self._number = 0
        self._closed = threading.Event()
        self._listener: psycopg.Connection[Any] | None = None
        self._connection = self._connect()

    @classmethod
    def open(cls, address: str) -> "PostgreSQL":
        """The store in that database (a libpq URL), made when there is none; ConfigurationError when it cannot be."""
        try:
            _create(address)
            return cls(address, is_broker=True)
        except psycopg.OperationalError as error:
            raise NotThereYet(f"the store cannot be opened: {_line(error)}; is the server up?") from error
        except psycopg.Error as error:
            raise ConfigurationError(f"the store cannot be opened: {_line(error)}") from error

    @property
    def number(self) -> int:
        """See Database."""
        return self._number

    def begin(self) -> float:
        """See Database."""
        return self._begin("BEGIN")

    def begin_reading(self) -> float:
        """See Database."""
        return self._begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Cursor:
        """See Database."""
        return self._connection.execute(_positional(sql), parameters)

    def run_many(self, name: str, rows: Sequence[Parameters]) -> None:
        """See Database; psycopg sends them in a pipeline."""
        with self._connection.cursor() as cursor:
            cursor.executemany(_positional(statement(name, self.dialect)), rows)

    def keep(self, savepoint: str) -> None:
        """See Database; one round trip."""
        self.execute(f"RELEASE {savepoint}; SAVEPOINT {savepoint}")

    def roll_back(self) -> None:
        """See Database; there is nothing to undo where the connection is gone."""
        if not self._connection.broken:
            self._connection.execute("ROLLBACK")

    def reader(self) -> "PostgreSQL":
        """See Database."""
        return PostgreSQL(self._address, is_broker=False)

    def tell(self, stages: set[str]) -> None:
        """See Database."""
        self.execute("SELECT pg_notify(:channel, :stages)", {"channel": CHANNEL, "stages": self._signed(stages)})

    def listen(self, heard: Callable[[set[str]], None]) -> None:
        """Call it, from another thread, with the stages that other brokers tell of. Polling covers what is missed."""
        threading.Thread(target=self._listen, args=(heard,), name="listener", daemon=True).start()

    def may_succeed_now(self, error: Exception) -> bool:
        """See Database."""
        return isinstance(error, _AGAIN)

    def interrupt(self) -> None:
        """See Database."""
        self._connection.cancel()

    def close(self) -> None:
        """See Database."""
        self._closed.set()
        self._connection.close()
        if self._listener is not None:
            self._listener.close()

    def _connect(self) -> "psycopg.Connection[Any]":
        connection = psycopg.connect(self._address, autocommit=True, row_factory=dict_row)
        connection.execute("SET synchronous_commit = on")  # whatever the server's default is
        if self._is_broker:
            self._number = _free_number(connection, self._number)
        return connection

    def _begin(self, how: str) -> float:
        if self._connection.closed:
            self._connection = self._connect()
        cursor = self._connection.execute(f"{how}; {_CLOCK}".encode())  # one round trip
        cursor.nextset()
        row: Any = cursor.fetchone()
        return float(row["now"])

    def _listen(self, heard: Callable[[set[str]], None]) -> None:
        while not self._closed.is_set():
            with suppress(psycopg.Error):  # the server is away, or this is the end
                self._listener = psycopg.connect(self._address, autocommit=True)
                self._listener.execute(f"LISTEN {CHANNEL}")
                for notice in self._listener.notifies():
                    number, _, stages = notice.payload.partition(":")
                    if number != str(self._number):
                        heard(set(stages.split(",")))
            self._closed.wait(_LISTEN_AGAIN)

    def _signed(self, stages: set[str]) -> str:
        return f"{self._number}:{','.join(sorted(stages))}"


def _free_number(connection: "psycopg.Connection[Any]", wished: int) -> int:
    """The wished one, or the first, that no other broker has; it is free again when this connection ends."""
    numbers: list[int] = [wished, *range(BROKERS)]
    for number in numbers:
        if _value(connection, "SELECT pg_try_advisory_lock(%s, %s) AS value", _NUMBERS, number):
            return number
    raise NotThereYet(f"{BROKERS} brokers have this store open; stop one first")


def _value(connection: "psycopg.Connection[Any]", query: str, *parameters: Any) -> Any:
    row: Any = connection.execute(query, parameters).fetchone()
    return row["value"]


def _create(address: str) -> None:
    """One broker makes the schema, or leads it to the present one, while others that start with it wait."""
    with psycopg.connect(address, autocommit=True, row_factory=dict_row) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_SCHEMA,))  # until this connection ends
        if _value(connection, "SELECT to_regclass(%s) AS value", TABLE) is None:
            script = (HERE / "schema" / "postgresql.sql").read_text(encoding="utf-8")
            with connection.transaction():
                connection.execute(script.encode())
        found: Any = connection.execute(NUMBER).fetchone()
        if not check(found["number"]):
            migrate("postgresql+psycopg", lambda: psycopg.connect(address))


@cache
def _positional(sql: str) -> str:
    """`:name` as psycopg writes it."""
    return _NAMED.sub(r"%(\1)s", sql.replace("%", "%%")) if _NAMED.search(sql) else sql


def _line(error: psycopg.Error) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
