"""The first schema: what a store without a number is taken to have."""

revision, down_revision = "1", None


def upgrade() -> None:
    """Leads a store of the schema before to this one."""
