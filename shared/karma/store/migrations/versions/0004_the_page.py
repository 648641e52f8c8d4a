"""Pauses, and indexes for lists of the page: dead prompts and unscored pairs."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_PARTIAL = (
    ("ix_prompts_dead", "prompts", "id", "state = 'dead'"),
    ("ix_resolutions_unscored", "resolutions", "resolved_at", "outcome = 'unscored'"),
)


def upgrade() -> None:
    """Add a table and two small indexes; nothing is paused."""
    op.create_table(
        "pauses",
        sa.Column("stream", sa.Text(), primary_key=True),
        sa.Column("since", sa.Float(), nullable=False),
    )
    for name, table, column, where in _PARTIAL:
        op.create_index(name, table, [column], sqlite_where=sa.text(where), postgresql_where=sa.text(where))
