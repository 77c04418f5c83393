"""A reaction's counters are named with the time until which it grows them."""

from serving.queue.store.migrating import apply

revision, down_revision = "3", "2"


def upgrade() -> None:
    """Leads a store of the schema before to this one."""
    apply(revision)
