"""The SQLite file: opened by the broker alone, durable at every commit, and its statements by name."""

import sqlite3
from functools import cache
from pathlib import Path
from typing import Any

from serving.errors import ConfigurationError

VERSION = 1
_HERE = Path(__file__).parent


def open_database(path: Path) -> sqlite3.Connection:
    """The store at `path`, made when there is none; ConfigurationError when it cannot be used.

    WAL with synchronous=FULL: a commit returns after fsync of the log (SQLite, "Write-Ahead Logging", section 3.2).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
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
        raise ConfigurationError(f"the store cannot be opened: {error}; check its folder's rights and space") from error
    path.chmod(0o600)
    return connection


def _create(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        script = (_HERE / "schema.sql").read_text(encoding="utf-8")
        connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nCOMMIT;")
    elif version != VERSION:
        raise ConfigurationError(
            f"the store has schema {version}, this broker speaks {VERSION}; use the matching release"
        )


@cache
def statement(name: str) -> str:
    """The SQL of `sql/<name>.sql`."""
    return (_HERE / "sql" / f"{name}.sql").read_text(encoding="utf-8")


Row = sqlite3.Row
Parameters = dict[str, Any]
