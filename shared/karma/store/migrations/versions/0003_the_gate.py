"""Predicted labels, squared weights of verdicts, judge budgets (table `gates`), and discovered skills."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_PARTIAL = (
    ("ix_pairs_gated", "predicted IS NOT NULL"),
    ("ix_pairs_audited", "judged = 1 AND judged_probability < 1"),
)


def upgrade() -> None:
    """Add columns and tables; existing pairs are judged, and existing verdicts have the weight 1."""
    op.add_column("competency_counts", sa.Column("squares", sa.Float(), nullable=False, server_default=sa.text("0")))
    op.execute("UPDATE competency_counts SET squares = wins_a + wins_b + ties, bucket = bucket * 1800")  # hours to 2 s
    op.add_column("pairs", sa.Column("judged", sa.SmallInteger(), nullable=False, server_default=sa.text("1")))
    op.add_column("pairs", sa.Column("predicted", sa.Float()))
    op.add_column("pairs", sa.Column("predicted_tie", sa.Float()))
    op.add_column("resolutions", sa.Column("predicted", sa.Float()))
    for name, where in _PARTIAL:
        op.create_index(name, "pairs", ["id"], sqlite_where=sa.text(where), postgresql_where=sa.text(where))
    op.create_table(
        "gates",
        sa.Column("stream", sa.Text(), sa.ForeignKey("streams.name"), primary_key=True),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.Column("judged", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
    )
    op.create_table(
        "skill_clusters",
        sa.Column("stream", sa.Text(), sa.ForeignKey("streams.name"), primary_key=True),
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column("centroid", sa.LargeBinary(), nullable=False),
    )
