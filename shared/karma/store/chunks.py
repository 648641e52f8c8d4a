"""Statements about long lists of ids, in chunks that a database accepts as parameters of one statement."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import Column, ColumnElement, Connection, select

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
        yield from connection.execute(statement.where(column.in_(chunk))).all()


def groups_in(
    connection: Connection, statement: Any, column: Column[Any], ids: Iterable[Any], make: Callable[..., _T]
) -> dict[Any, list[_T]]:
    """The same rows, each as `make` makes it of its values, by their value of `column`; without a row: empty."""
    groups: dict[Any, list[_T]] = defaultdict(list)
    for row in rows_in(connection, statement, column, ids):
        groups[getattr(row, column.key)].append(make(*row))
    return groups


def execute_in(connection: Connection, statement: Any, column: ColumnElement[Any], ids: Iterable[Any]) -> None:
    """Execute a statement that returns no rows where `column` is among `ids`.

    For rows that no other transaction changes at the same time: those of prompts that this one has locked.
    """
    for chunk in chunks(sorted(set(ids))):
        connection.execute(statement.where(column.in_(chunk)))


def execute_in_order(connection: Connection, statement: Any, column: Column[Any], ids: Iterable[Any]) -> None:
    """The same for rows that others may change at the same time.

    They are locked in the order of `column`, which is unique, so that two such statements cannot deadlock.
    """
    for chunk in chunks(sorted(set(ids))):
        locked = select(column).where(column.in_(chunk)).order_by(column).with_for_update()
        connection.execute(statement.where(column.in_(locked)))
