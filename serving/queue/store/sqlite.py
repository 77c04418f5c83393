"""The store in one SQLite file: opened by one broker alone, durable at every commit."""

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from serving.errors import ConfigurationError
from serving.queue.store.database import HERE, Cursor, Database, Parameters, statement
from serving.queue.store.migrating import NUMBER, TABLE, check, migrate


class SQLite(Database):
    """A file and its connection."""

    dialect, is_shared = "sqlite", False
    failures = (sqlite3.Error,)
    value_failures = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.InterfaceError)

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: int | None = None) -> None:
        self.path, self.connection, self._lock = path, connection, lock
        connection.row_factory = sqlite3.Row

    @classmethod
    def open(cls, path: Path, *, alone: bool = False) -> "SQLite":
        """The store at `path`, made when there is none; `alone` keeps other brokers out. ConfigurationError when it
        cannot be used.

        WAL with synchronous=FULL: a commit returns after fsync of the log (SQLite, "Write-Ahead Logging", 3.2).
        """
        lock = _lock(path) if alone else None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))  # nobody else may read it, ever
            _make(path)
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            for pragma in (
                "journal_mode=WAL",
                "synchronous=FULL",
                "temp_store=MEMORY",
                "foreign_keys=ON",
                "cache_size=-8192",
            ):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("BEGIN IMMEDIATE")  # fails now, not at the first mail, where the file is read-only
            connection.execute("ROLLBACK")
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(
                f"the store cannot be opened: {error}; check its rights and the disk's space"
            ) from error
        return cls(path, connection, lock)

    def begin(self) -> float:
        """See Database; the time is this machine's."""
        self.connection.execute("BEGIN IMMEDIATE")
        return time.time()

    def begin_reading(self) -> float:
        """See Database."""
        self.connection.execute("BEGIN")
        return time.time()

    def execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Cursor:
        """See Database."""
        return self.connection.execute(sql, parameters or {})

    def run_many(self, name: str, rows: Sequence[Parameters]) -> None:
        """See Database."""
        self.connection.executemany(statement(name, self.dialect), rows)

    def roll_back(self) -> None:
        """See Database; a failed COMMIT may have ended the transaction already."""
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def reader(self) -> "SQLite":
        """See Database."""
        address = f"{self.path.resolve().as_uri()}?mode=ro"
        return SQLite(self.path, sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False))

    def tell(self, stages: set[str]) -> None:
        """There is no other broker."""

    def listen(self, heard: Callable[[set[str]], None]) -> None:
        """There is nobody to tell."""

    def interrupt(self) -> None:
        """See Database."""
        self.connection.interrupt()

    def close(self) -> None:
        """See Database."""
        self.connection.close()
        if self._lock is not None:
            os.close(self._lock)


def _lock(path: Path) -> int:
    """The descriptor of a lock for this process's life: a store has one broker. ConfigurationError when it is taken."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path.with_name(f"{path.name}.lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"the store's folder cannot be used: {error.strerror}; check its rights") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise ConfigurationError("another broker has this store open; stop it first") from error
    return fd


def _make(path: Path) -> None:
    """The present schema, whatever the file has: nothing, an older one, or this one already."""
    with closing(_plain(path)) as connection:
        (number,) = connection.execute("PRAGMA user_version").fetchone()
        known = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (TABLE,)).fetchone()
        if known is None and number == 0:
            script = (HERE / "schema" / "sqlite.sql").read_text(encoding="utf-8")
            connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nCOMMIT;")  # the whole script or none of it
        elif known is None:  # made when the file's own number was all there was
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("CREATE TABLE schema_version (version_num TEXT PRIMARY KEY NOT NULL) STRICT")
            connection.execute("INSERT INTO schema_version VALUES (?)", (str(number),))
            connection.execute("COMMIT")
        (found,) = connection.execute(NUMBER).fetchone()
    if not check(found):
        migrate("sqlite", lambda: _plain(path))


def _plain(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)
