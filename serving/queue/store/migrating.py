"""Leads a store of an older schema to the present one, with Alembic: a revision each, its SQL in a file a dialect.

A new store is made from `schema/<dialect>.sql` and says which revision that is. Nothing is led back: an older release
refuses a newer store.
"""

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

from serving.errors import ConfigurationError
from serving.queue.store.database import HERE

TABLE = "schema_version"
NUMBER = "SELECT version_num AS number FROM schema_version"
VERSION = "6"


def check(number: str) -> bool:
    """Whether that is the present schema, False where it must be led to it; ConfigurationError for a newer one."""
    if int(number) > int(VERSION):
        raise ConfigurationError(
            f"the store has schema {number}, this broker speaks {VERSION}; use the matching release"
        )
    return number == VERSION


def migrate(dialect: str, connect: Callable[[], Any]) -> None:
    """Run every revision that the store lacks, all of them in one transaction or none.

    `dialect` is SQLAlchemy's; `connect` makes a DB-API connection, which is closed afterwards. Alembic is imported
    here: a store that is up to date need not wait for it.
    """
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine, event

    config = Config()
    config.set_main_option("script_location", str(HERE / "migrations").replace("%", "%%"))
    engine = create_engine(f"{dialect}://", creator=connect)
    if dialect == "sqlite":  # its driver would commit before each change of the schema
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def apply(number: str) -> None:
    """Within a revision: the statements of `migrations/<dialect>/<number>.sql`."""
    from alembic import op

    connection = op.get_bind()
    script = HERE / "migrations" / connection.dialect.name / f"{number}.sql"
    for statement in _statements(script.read_text(encoding="utf-8")):
        connection.exec_driver_sql(statement)


def _statements(script: str) -> Iterator[str]:
    """One after the other, each up to its last semicolon (sqlite3 knows where: triggers hold some)."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
