"""INSERT statements that differ between SQLite and PostgreSQL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def _insert(connection: Connection, table: Table) -> Any:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def insert_new(connection: Connection, table: Table) -> Any:
    """An INSERT that skips rows whose natural key exists."""
    return _insert(connection, table).on_conflict_do_nothing()


def insert_adding(connection: Connection, table: Table, *added: str) -> Any:
    """An INSERT that, where the primary key exists, adds the columns `added` to the existing row."""
    statement = _insert(connection, table)
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={name: table.c[name] + statement.excluded[name] for name in added},
    )
