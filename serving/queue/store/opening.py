"""Which database a store is in: a file's path means SQLite, a `postgresql://` URL means what it says."""

from pathlib import Path

from serving.errors import ConfigurationError
from serving.queue.store.database import Database
from serving.queue.store.sqlite import SQLite

POSTGRESQL = ("postgresql://", "postgres://")


def open_store(where: str) -> Database:
    """The store for a broker, made when there is none; ConfigurationError when it cannot be used."""
    if not where.startswith(POSTGRESQL):
        return SQLite.open(Path(where), alone=True)
    try:
        from serving.queue.store.postgresql import PostgreSQL
    except ImportError:
        raise ConfigurationError("a PostgreSQL store needs psycopg; install clarion[postgresql]") from None
    return PostgreSQL.open(where)
