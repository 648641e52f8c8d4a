"""Prompts that wait for admission, and those that hold a place of the window."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, SmallInteger, bindparam, func, literal_column, select

from karma.store.prompt_states import IS_IN_FLIGHT, IS_WAITING
from karma.store.schema import PARKED, prompts, streams, work_items
from karma.store.statements import Query, among

# The order has PostgreSQL use the index, whatever it takes the number of those that wait for.
_ANY_ACCEPTED = Query(select(prompts.c.id).where(IS_WAITING).order_by(prompts.c.stream, prompts.c.priority).limit(1))

_OF_STREAM = IS_WAITING & (prompts.c.stream == streams.c.name)
_HIGHEST = select(func.max(prompts.c.priority)).where(_OF_STREAM).scalar_subquery()
_WANTING = Query(select(streams.c.name, streams.c.goal, _HIGHEST))

_IN_FLIGHT = Query(select(prompts.c.stream, func.count()).where(IS_IN_FLIGHT).group_by(prompts.c.stream))
_HELD_UP = Query(
    select(prompts.c.stream, func.count(work_items.c.prompt.distinct()))
    .select_from(work_items.join(prompts, prompts.c.id == work_items.c.prompt))
    .where(among(work_items.c.stage, "stages"), among(work_items.c.target, "closed"), IS_IN_FLIGHT)
    .group_by(prompts.c.stream),
    *("stages", "closed"),
)


@cache
def _waiting(priority: int) -> Query:
    return Query(
        _first(priority, "id", "prompt_id", "skill", "given")
        .add_columns(func.length(prompts.c.messages))
        .with_for_update(skip_locked=True),
        *("stream", "limit"),
    )


@cache
def _without_calls(priority: int) -> Query:
    first = _first(priority, "id", "given").subquery()
    parked = select(work_items.c.id).where(work_items.c.prompt == first.c.id, work_items.c.batch == PARKED)
    found = select(first.c.id).where(first.c.given.is_not(None) | parked.exists()).limit(1)
    return Query(found, "stream", "limit")


def _first(priority: int, *names: str) -> Select[Any]:
    """The first that wait of a stream and a priority, in the order of acceptance.

    The priority is a range and a part of the order, so that PostgreSQL goes by the index of those that wait. Where many
    do it would else go by the primary key, past all prompts that ended. It is written into the statement, as a plan for
    any range expects few rows, and would sort all.
    """
    level = literal_column(str(int(priority)), SmallInteger)
    next_ = IS_WAITING & (prompts.c.stream == bindparam("stream")) & prompts.c.priority.between(level, level)
    ordered = select(*(prompts.c[name] for name in names)).where(next_).order_by(prompts.c.priority, prompts.c.id)
    return ordered.limit(bindparam("limit"))


class Wanting(NamedTuple):
    """A stream with accepted prompts."""

    name: str
    goal: str | None  # that it began with; None where no prompt of it was admitted yet
    priority: int  # the highest of those prompts


class Waiting(NamedTuple):
    """An accepted prompt, its row locked."""

    id: int
    prompt_id: str
    skill: str | None
    given: str | None  # JSON: responses that it has
    size: int  # of its turns, characters


def has_accepted(connection: Connection) -> bool:
    """Whether any prompt waits."""
    return bool(_ANY_ACCEPTED.rows(connection))


def wanting(connection: Connection) -> list[Wanting]:
    """Streams with accepted prompts."""
    return [Wanting(*row) for row in _WANTING.rows(connection) if row[2] is not None]


def waiting(connection: Connection, stream: str, priority: int, limit: int) -> list[Waiting]:
    """The first accepted prompts of a stream and a priority, locked, without those that others have locked."""
    return [Waiting(*row) for row in _waiting(priority).rows(connection, stream, limit)]


def any_without_calls(connection: Connection, stream: str, priority: int, limit: int) -> bool:
    """Whether one of the first accepted prompts of a stream and a priority has responses or parked work."""
    return bool(_without_calls(priority).rows(connection, stream, limit))


def in_flight(connection: Connection, closed: Collection[str]) -> dict[str, int]:
    """The number of admitted prompts per stream, without those that wait for a `closed` model or judge."""
    number = dict(_IN_FLIGHT.rows(connection))
    for stream, count in _HELD_UP.rows(connection, ("generate", "judge"), closed):
        number[stream] -= count
    return number
