"""The store as an earlier version had it: what later migrations added is taken away again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from karma.store import Store

_MONEY = ("tokens_cached", "tokens_reasoning", "cost_usd", "priced_by")

#: Revision → the statements that undo its migration; the newest first.
_UNDO: Mapping[str, Sequence[str]] = {
    "0015": (
        *(f"DROP INDEX ix_prompts_{index}" for index in ("open", "ended", "dead")),
        "ALTER TABLE prompts DROP COLUMN admitted",
        "CREATE INDEX ix_prompts_dead ON prompts (id)",
        "CREATE INDEX ix_prompts_state_stream_priority_id ON prompts (state, stream, priority, id)",
    ),
    "0014": ("DROP TABLE deletions",),
    "0013": ("DROP TABLE judge_templates",),
    "0012": ("ALTER TABLE resolutions DROP COLUMN weights",),
    "0011": (
        *(f"ALTER TABLE {table} DROP COLUMN {name}" for table in ("responses", "verdicts") for name in _MONEY),
        *(f"ALTER TABLE streams DROP COLUMN {name}" for name in ("until_preferences", "most_admitted")),
        "DROP TABLE spending",
        "DROP TABLE budgets",
    ),
    "0010": ("ALTER TABLE streams DROP COLUMN goal",),
}


def take_back(store: Store, revision: str) -> None:
    """Make the schema that of an earlier revision, from 0007 on. Data of columns that remain are kept."""
    with store.engine.begin() as connection:
        for later, statements in _UNDO.items():
            for statement in statements if later > revision else ():
                connection.exec_driver_sql(statement)
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{revision}'")
