"""The money of calls: what each cost, running sums per stream and day, and the budgets of streams.

Calls that were recorded before have no money: their tokens are summed up, and the pool file's price applies as before.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

#: Kind → its calls with the stream of each, and the column of its names.
_CALLS = {
    "model": ("responses AS c JOIN prompts AS p ON p.id = c.prompt", "c.model"),
    "judge": ("verdicts AS c JOIN pairs AS q ON q.id = c.pair JOIN prompts AS p ON p.id = q.prompt", "c.judge"),
}


def upgrade() -> None:
    """Add columns and tables, and sum up the tokens of all recorded calls."""
    for table in ("responses", "verdicts"):
        op.add_column(table, sa.Column("tokens_cached", sa.Integer()))
        op.add_column(table, sa.Column("tokens_reasoning", sa.Integer()))
        op.add_column(table, sa.Column("cost_usd", sa.Float()))
        op.add_column(table, sa.Column("priced_by", sa.Text()))
    op.add_column("streams", sa.Column("until_preferences", sa.BigInteger()))
    op.add_column("streams", sa.Column("most_admitted", sa.BigInteger()))
    op.create_table(
        "budgets",
        sa.Column("stream", sa.Text(), primary_key=True),
        sa.Column("total_usd", sa.Float()),
        sa.Column("day_usd", sa.Float()),
    )
    counts = ("calls", "tokens_in", "tokens_out", "priced")
    unpriced = ("unpriced", "unpriced_in", "unpriced_out")
    op.create_table(
        "spending",
        sa.Column("stream", sa.Text(), primary_key=True),
        sa.Column("day", sa.Integer(), primary_key=True),
        sa.Column("kind", sa.Text(), primary_key=True),
        sa.Column("name", sa.Text(), primary_key=True),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in counts),
        sa.Column("cost_usd", sa.Float(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in unpriced),
    )
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    # A cast rounds in PostgreSQL, and cuts in SQLite; times are after 1970.
    day = "CAST(floor(c.created_at / 86400) AS INTEGER)" if is_postgresql else "CAST(c.created_at / 86400 AS INTEGER)"
    known = "c.tokens_in IS NOT NULL AND c.tokens_out IS NOT NULL"
    for kind, (calls, name) in _CALLS.items():
        op.execute(
            "INSERT INTO spending (stream, day, kind, name, calls, tokens_in, tokens_out, priced, cost_usd, "  # noqa: S608
            "unpriced, unpriced_in, unpriced_out) "
            f"SELECT p.stream, {day}, '{kind}', {name}, count(*), COALESCE(sum(c.tokens_in), 0), "
            "COALESCE(sum(c.tokens_out), 0), 0, 0, "
            f"sum(CASE WHEN {known} THEN 1 ELSE 0 END), "
            f"sum(CASE WHEN {known} THEN c.tokens_in ELSE 0 END), "
            f"sum(CASE WHEN {known} THEN c.tokens_out ELSE 0 END) "
            f"FROM {calls} "
            "WHERE c.latency_s IS NOT NULL OR c.tokens_in IS NOT NULL OR c.tokens_out IS NOT NULL "
            f"GROUP BY p.stream, {day}, {name}"
        )
