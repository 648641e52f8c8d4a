"""Due times of unpublished batches, attempts at recording results, and indexes for long ledgers."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_PARTIAL = (
    ("ix_prompts_no_pair", "prompts", "stream", "no_pair IS NOT NULL"),
    ("ix_responses_failure", "responses", "prompt", "failure IS NOT NULL"),
    ("ix_verdicts_failure", "verdicts", "pair", "failure IS NOT NULL"),
)


def upgrade() -> None:
    """Add columns with defaults, and indexes."""
    op.add_column("batches", sa.Column("due_at", sa.Float(), nullable=False, server_default=sa.text("0")))
    attempts = sa.Column("result_attempts", sa.SmallInteger(), nullable=False, server_default=sa.text("0"))
    # SQLite would reuse the ids of closed items; a late result must match its own item or none.
    with op.batch_alter_table("work_items", table_kwargs={"sqlite_autoincrement": True}) as work_items:
        work_items.add_column(attempts)
    op.drop_index("ix_prompts_state_priority_id", table_name="prompts")
    op.create_index("ix_prompts_state_stream_priority_id", "prompts", ["state", "stream", "priority", "id"])
    for name, table, column, where in _PARTIAL:
        op.create_index(name, table, [column], sqlite_where=sa.text(where), postgresql_where=sa.text(where))
