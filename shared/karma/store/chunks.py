"""Statements about long lists of ids, in chunks that a database accepts as parameters of one statement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection

_IDS_PER_STATEMENT = 500

_T = TypeVar("_T")


def chunks(values: Sequence[_T], size: int = _IDS_PER_STATEMENT) -> Iterator[Sequence[_T]]:
    """Consecutive parts of at most `size` values."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def rows_in(connection: Connection, statement: Any, column: ColumnElement[Any], ids: Iterable[Any]) -> Iterator[Any]:
    """The rows that a statement returns where `column` is among `ids`.

    It is executed for sorted chunks of the ids: the statement's own order holds within a chunk.
    """
    for chunk in chunks(sorted(set(ids))):
        yield from connection.execute(statement.where(column.in_(chunk)))


def execute_in(connection: Connection, statement: Any, column: ColumnElement[Any], ids: Iterable[Any]) -> None:
    """Execute a statement that returns no rows where `column` is among `ids`."""
    for chunk in chunks(sorted(set(ids))):
        connection.execute(statement.where(column.in_(chunk)))
