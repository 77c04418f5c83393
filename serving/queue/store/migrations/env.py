"""Alembic's environment: the connection comes from serving.queue.store.migrating, in a transaction that it ends."""

from alembic import context

from serving.queue.store.migrating import TABLE

context.configure(connection=context.config.attributes["connection"], version_table=TABLE)
context.run_migrations()
