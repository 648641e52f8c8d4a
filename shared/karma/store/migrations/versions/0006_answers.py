"""Metadata of prompts, reasoning and dropped settings of responses, and notes on verdicts; null for existing rows."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add columns."""
    op.add_column("prompts", sa.Column("metadata", sa.Text()))
    op.add_column("responses", sa.Column("reasoning", sa.Text()))
    op.add_column("responses", sa.Column("dropped", sa.Text()))
    op.add_column("verdicts", sa.Column("note", sa.Text()))
