"""How often an item was asked for again; work tokens are derived from the signing key and stored no more."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add a column and drop one."""
    op.add_column("work_items", sa.Column("resends", sa.SmallInteger(), nullable=False, server_default=sa.text("0")))
    op.drop_column("batches", "token")
