"""Statements about many rows at once: written once from the schema, and run through the database's driver.

SQLite gets the rows by the driver's `executemany`, PostgreSQL one array per column.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Dialect, Table

from karma.store import driver
from karma.store.chunks import chunks
from karma.store.lists import array, encoder

Rows = Sequence[tuple[Any, ...]]


class _Written(NamedTuple):
    """A statement for one database."""

    text: str
    encoders: Sequence[Callable[[Iterable[Any]], str]]  # of the columns

    def arrays(self, rows: Rows) -> list[str]:
        """The rows' columns, each as one parameter."""
        return [encode(values) for encode, values in zip(self.encoders, zip(*rows, strict=True), strict=True)]


class _Statement(ABC):
    """A statement about rows with values for these columns of a table."""

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        self.table, self.columns = table, tuple(columns)
        self._written: dict[str, _Written] = {}

    def run(self, connection: Connection, rows: Rows) -> None:
        """Execute it for the rows; nothing where there are none."""
        if rows and connection.dialect.name == "sqlite":
            driver.run_many(connection, self._for(connection.dialect).text, rows)
        elif rows:
            written = self._for(connection.dialect)
            for chunk in chunks(rows):
                driver.run(connection, written.text, written.arrays(chunk))

    def _for(self, dialect: Dialect) -> _Written:
        found = self._written.get(dialect.name)
        if found is None:
            text = self._for_sqlite() if dialect.name == "sqlite" else self._for_postgresql(self._source(dialect))
            encoders = [encoder(self.table.c[name].type, dialect) for name in self.columns]
            found = self._written[dialect.name] = _Written(text, encoders)
        return found

    def _source(self, dialect: Dialect) -> str:
        """The rows as a table of PostgreSQL: each column is an array, and one parameter."""
        arrays = (f"%s::{array(self.table.c[name].type, dialect)}" for name in self.columns)
        return f"unnest({', '.join(arrays)})"

    @abstractmethod
    def _for_sqlite(self) -> str:
        """The text for one row."""

    @abstractmethod
    def _for_postgresql(self, source: str) -> str:
        """The text for the rows of `source`."""


# The names in these texts are those of the schema, not of any data.
# ruff: noqa: S608


class Insert(_Statement):
    """An INSERT.

    Args:
        table: that the rows go into.
        columns: names of the rows' values.
        returning: names of columns that `new` returns; the table's column `id` then grows with each row.
        adding: names of columns that are added to those of the row with the same primary key; no two of the given rows
            may share one. Without any, rows whose natural key exists are left out.
        strict: a row whose natural key exists is an error.
    """

    def __init__(
        self,
        table: Table,
        columns: Sequence[str],
        returning: Sequence[str] = (),
        adding: Sequence[str] = (),
        strict: bool = False,
    ) -> None:
        super().__init__(table, columns)
        self._returning = tuple(returning)
        self._given = [self.columns.index(name) for name in returning if name in self.columns]
        key = ", ".join(column.name for column in table.primary_key.columns)
        sums = ", ".join(f"{name} = {table.name}.{name} + excluded.{name}" for name in adding)
        otherwise = "" if strict else "ON CONFLICT DO NOTHING"
        self._conflict = f"ON CONFLICT ({key}) DO UPDATE SET {sums}" if adding else otherwise

    def new(self, connection: Connection, rows: Rows) -> list[Any]:
        """Insert the rows; returns the columns `returning` of those that were new, in any order."""
        if not rows:
            return []
        if connection.dialect.name == "sqlite":
            return self._new_in_sqlite(connection, rows)
        written, found = self._for(connection.dialect), []
        for chunk in chunks(rows):
            found += driver.rows(connection, written.text, written.arrays(chunk))
        return found

    def _new_in_sqlite(self, connection: Connection, rows: Rows) -> list[Any]:
        """The driver's `executemany` returns no rows, and is twice as fast as statements that do.

        The transaction is the only writer, so that the new rows are those with a greater id than any before.
        """
        ((last,),) = driver.rows(connection, f"SELECT coalesce(max(id), 0) FROM {self.table.name}")
        number = driver.run_many(connection, self._for(connection.dialect).text, rows)
        if number == len(rows) and len(self._given) == len(self._returning):
            return [tuple([row[index] for index in self._given]) for row in rows]
        newer = f"SELECT {', '.join(self._returning)} FROM {self.table.name} WHERE id > ? ORDER BY id"
        return driver.rows(connection, newer, (last,))

    def _for_sqlite(self) -> str:
        places = ", ".join("?" * len(self.columns))
        return f"INSERT INTO {self.table.name} ({', '.join(self.columns)}) VALUES ({places}) {self._conflict}"

    def _for_postgresql(self, source: str) -> str:
        into = f"INSERT INTO {self.table.name} ({', '.join(self.columns)})"
        returning = f" RETURNING {', '.join(self._returning)}" if self._returning else ""
        return f"{into} SELECT * FROM {source} {self._conflict}{returning}"


class Update(_Statement):
    """An UPDATE of rows that the caller has locked.

    Args:
        table: of the rows.
        columns: names of the columns that are set, then that by which a row is found.
    """

    def __init__(self, table: Table, *columns: str) -> None:
        super().__init__(table, columns)
        *self._changed, self._key = columns

    def _for_sqlite(self) -> str:
        values = ", ".join(f"{name} = ?" for name in self._changed)
        return f"UPDATE {self.table.name} SET {values} WHERE {self._key} = ?"

    def _for_postgresql(self, source: str) -> str:
        table, rows = self.table.name, f"{source} AS changed ({', '.join(self.columns)})"
        values = ", ".join(f"{name} = changed.{name}" for name in self._changed)
        return f"UPDATE {table} SET {values} FROM {rows} WHERE {table}.{self._key} = changed.{self._key}"
