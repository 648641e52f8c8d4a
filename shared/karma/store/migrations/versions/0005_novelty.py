"""The novelty of a pair's prompt; null for existing pairs."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add a column."""
    op.add_column("pairs", sa.Column("novelty", sa.Float()))
