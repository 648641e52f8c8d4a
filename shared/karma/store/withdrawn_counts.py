"""Takes counts out of the competency counts again, wherever merges of buckets and renames have moved them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, select, update

from karma.store.records import Count
from karma.store.schema import competency_counts

_COLUMNS = competency_counts.c
_VALUES = ("wins_a", "wins_b", "ties", "squares")
#: What is left of a value may be a rounding error.
_ROUNDING = 1e-9


def withdraw_counts(connection: Connection, counts: Iterable[Count], former_mark: str) -> None:
    """Subtract counts that were added before; no value falls below 0.

    A count is sought in its own bucket, then in earlier ones: merged buckets have the number of their first. Counts of
    a model from before it changed are under its name, `former_mark` and a bucket.

    Args:
        connection: of a transaction; the rows are locked in the order of their keys.
        counts: with the names that the models have now.
        former_mark: separates a former model's name from its bucket.
    """
    for count in sorted(counts):
        left = {name: getattr(count, name) for name in _VALUES}
        for row, turned in _rows(connection, count, former_mark):
            names = dict(zip(_VALUES, ("wins_b", "wins_a", "ties", "squares") if turned else _VALUES, strict=True))
            taken = {name: min(left[name], getattr(row, names[name])) for name in _VALUES}
            _subtract(connection, row, {names[name]: value for name, value in taken.items()})
            left = {name: left[name] - taken[name] for name in _VALUES}
            if max(left.values()) <= _ROUNDING:
                break


def _rows(connection: Connection, count: Count, mark: str) -> Iterator[tuple[Any, bool]]:
    """The rows that may have a count, its own bucket first, and whether their models are turned; locked."""

    def either(name: str) -> ColumnElement[bool]:
        of = (_COLUMNS.model_a, _COLUMNS.model_b)
        return (
            (of[0] == name)
            | (of[1] == name)
            | (of[0].startswith(name + mark, autoescape=True) | of[1].startswith(name + mark, autoescape=True))
        )

    query = (
        select(competency_counts)
        .where(_COLUMNS.source == count.source, _COLUMNS.skill == count.skill, _COLUMNS.bucket <= count.bucket)
        .where(either(count.model_a), either(count.model_b))
        .order_by(_COLUMNS.model_a, _COLUMNS.model_b, _COLUMNS.bucket)
        .with_for_update()
    )
    for row in sorted(connection.execute(query).all(), key=lambda row: -row.bucket):
        names = row.model_a.split(mark, 1)[0], row.model_b.split(mark, 1)[0]
        if names in ((count.model_a, count.model_b), (count.model_b, count.model_a)):
            yield row, names[0] != count.model_a


def _subtract(connection: Connection, row: Any, taken: dict[str, float]) -> None:
    left = {name: getattr(row, name) - value for name, value in taken.items()}
    is_row = [column == getattr(row, column.key) for column in competency_counts.primary_key.columns]
    if max(left.values()) <= _ROUNDING:
        connection.execute(delete(competency_counts).where(*is_row))
    else:
        connection.execute(update(competency_counts).where(*is_row).values(**left))
