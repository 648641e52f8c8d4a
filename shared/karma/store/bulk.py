"""Inserts of many rows at once, of which some may exist."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, Connection, Table, func, select

from karma.store.chunks import chunks
from karma.store.sql import insert_new


def add_new(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]], key: Column[str]
) -> set[str]:
    """Insert those rows whose natural key is new; returns the `key` of each.

    Args:
        connection: of a transaction that writes.
        table: its column `id` grows with each row.
        columns: names of the rows' values.
        rows: distinct in `key`.
        key: a part of the natural key that is distinct among the rows.
    """
    if connection.dialect.name == "sqlite":
        return _add_to_sqlite(connection, table, columns, rows, key)
    inserted: set[str] = set()
    for chunk in chunks(rows):
        statement = insert_new(connection, table).returning(key)
        named = [dict(zip(columns, row, strict=True)) for row in chunk]
        inserted.update(connection.execute(statement, named).scalars())
    return inserted


def _add_to_sqlite(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]], key: Column[str]
) -> set[str]:
    """The same with the driver's `executemany`, at half the cost of statements that return rows.

    The transaction is the only writer, so that the new rows are those with a greater id than any before.
    """
    last = connection.execute(select(func.coalesce(func.max(table.c.id), 0))).scalar_one()
    places = ", ".join("?" * len(columns))
    # The names are those of the schema, not of any data.
    statement = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({places}) ON CONFLICT DO NOTHING"  # noqa: S608
    connection.exec_driver_sql(statement, list(rows))
    return set(connection.execute(select(key).where(table.c.id > last)).scalars())
