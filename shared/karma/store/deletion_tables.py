"""The table of deletions."""

from __future__ import annotations

from sqlalchemy import Column, Float, Table

from karma.store.schema import RowId, metadata

#: Deletions of streams. Whoever remembers ids of pairs finds here which of them may have been given again since.
deletions = Table(
    "deletions",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("deleted_at", Float, nullable=False),
    Column("newest_pair", RowId, nullable=False),  # that was left; 0: none
)
