"""Prompts are found by what changes once or twice, not by their state: PostgreSQL can then update a row in place.

`admitted` is 1 from a prompt's admission on. Prompts in flight are few; those that wait or ended are left as they are.
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

_PARTIAL = (
    ("ix_prompts_open", ["admitted", "stream", "priority", "id"], "ended_at IS NULL"),
    ("ix_prompts_ended", ["stream", "id"], "ended_at IS NOT NULL"),
    ("ix_prompts_dead", ["id"], "error IS NOT NULL"),
)

#: PostgreSQL leaves room on a prompt's page for its later versions, and vacuums the tables of open work, whose rows
#: live for seconds, by their number of dead rows and not by their share.
_SETTINGS = (
    "ALTER TABLE prompts SET (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02)",
    "ALTER TABLE work_items SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000)",
    "ALTER TABLE batches SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000)",
)


def upgrade() -> None:
    """Add a column, and replace the index that had the state."""
    op.add_column("prompts", sa.Column("admitted", sa.SmallInteger(), nullable=False, server_default=sa.text("0")))
    op.execute("UPDATE prompts SET admitted = 1 WHERE state IN ('dispatched', 'answered', 'matched')")
    op.execute("UPDATE prompts SET error = '' WHERE state = 'dead' AND error IS NULL")
    op.drop_index("ix_prompts_dead", table_name="prompts")
    op.drop_index("ix_prompts_state_stream_priority_id", table_name="prompts")
    for name, columns, where in _PARTIAL:
        op.create_index(name, "prompts", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
    if op.get_bind().dialect.name == "postgresql":
        for setting in _SETTINGS:
            op.execute(setting)
