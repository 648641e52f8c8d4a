"""The goal that a stream began with.

Existing streams began with `label`, which was the default, and keep its settings.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add a column."""
    op.add_column("streams", sa.Column("goal", sa.Text()))
    op.execute("UPDATE streams SET goal = 'label'")
