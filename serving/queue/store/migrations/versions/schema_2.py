"""Each recipient's own urgent threshold."""

from serving.queue.store.migrating import apply

revision, down_revision = "2", "1"


def upgrade() -> None:
    """Leads a store of the schema before to this one."""
    apply(revision)
