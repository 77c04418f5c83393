"""Bodies and keys are forgotten after a time."""

from serving.queue.store.migrating import apply

revision, down_revision = "4", "3"


def upgrade() -> None:
    """Leads a store of the schema before to this one."""
    apply(revision)
