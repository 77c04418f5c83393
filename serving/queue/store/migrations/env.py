"""Alembic's environment: the connection comes from serving.queue.store.migrating, in a transaction that it ends."""

from alembic import context

from serving.queue.store.migrating import TABLE


def run() -> None:
    """Every revision that is due."""
    context.configure(connection=context.config.attributes["connection"], version_table=TABLE)
    context.run_migrations()


if hasattr(context, "config"):  # Alembic runs this file; imported by anybody else it does nothing
    run()
