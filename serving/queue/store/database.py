"""The SQLite file: opened by the broker alone, durable at every commit, and its statements by name."""

import fcntl
import os
import sqlite3
from functools import cache
from pathlib import Path
from typing import Any

from serving.errors import ConfigurationError

VERSION = 3
"""Of the schema; `migrations/<n>.sql` leads a store of schema n - 1 to n."""
_HERE = Path(__file__).parent


def lock_store(path: Path) -> int:
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


def open_database(path: Path) -> sqlite3.Connection:
    """The store at `path`, made when there is none; ConfigurationError when it cannot be used.

    WAL with synchronous=FULL: a commit returns after fsync of the log (SQLite, "Write-Ahead Logging", section 3.2).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))  # nobody else may read it, ever
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "temp_store=MEMORY",
            "foreign_keys=ON",
            "cache_size=-65536",
        ):
            connection.execute(f"PRAGMA {pragma}")
        _create(connection)
    except (OSError, sqlite3.Error) as error:
        raise ConfigurationError(
            f"the store cannot be opened: {error}; check its rights and the disk's space"
        ) from error
    return connection


def _create(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        _run(connection, _HERE / "schema.sql")
    elif version < VERSION:
        for step in range(version + 1, VERSION + 1):
            _run(connection, _HERE / "migrations" / f"{step}.sql", f"PRAGMA user_version = {step};")
    elif version == VERSION:
        connection.execute("BEGIN IMMEDIATE")  # fails now, not at the first mail, where the file is read-only
        connection.execute("ROLLBACK")
    else:
        raise ConfigurationError(
            f"the store has schema {version}, this broker speaks {VERSION}; use the matching release"
        )


def _run(connection: sqlite3.Connection, script: Path, then: str = "") -> None:
    """The whole script or, after a crash, none of it."""
    connection.executescript(f"BEGIN IMMEDIATE;\n{script.read_text(encoding='utf-8')}\n{then}\nCOMMIT;")


@cache
def statement(name: str) -> str:
    """The SQL of `sql/<name>.sql`."""
    return (_HERE / "sql" / f"{name}.sql").read_text(encoding="utf-8")


Row = sqlite3.Row
Parameters = dict[str, Any]
