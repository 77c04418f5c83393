"""Addresses that nothing is sent to, what webhooks are told, and how urgent mail escalates."""

from serving.queue.store.migrating import apply

revision, down_revision = "6", "5"


def upgrade() -> None:
    """Leads a store of the schema before to this one."""
    apply(revision)
