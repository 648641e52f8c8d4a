"""What each judge counted for in the resolution of a pair, and an index of the verdicts of people.

Existing resolutions keep none: they are the mean over the judges.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add a column and an index."""
    op.add_column("resolutions", sa.Column("weights", sa.Text()))
    where = sa.text("template_hash = 'human'")
    op.create_index(
        "ix_verdicts_human", "verdicts", ["pair"], sqlite_where=where, postgresql_where=where, if_not_exists=True
    )
