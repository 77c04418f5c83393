"""A principal may have several credentials, and each its own end."""

from serving.queue.store.migrating import apply

revision, down_revision = "5", "4"


def upgrade() -> None:
    """Leads a store of the schema before to this one."""
    apply(revision)
