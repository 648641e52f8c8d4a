"""Deletions of streams, for whoever remembers ids of pairs."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add a table."""
    row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "deletions",
        sa.Column("id", row_id, primary_key=True),
        sa.Column("deleted_at", sa.Float(), nullable=False),
        sa.Column("newest_pair", row_id, nullable=False),
    )
