"""Prompts that wait for admission, and those that hold a place of the window."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, func, select

from karma.store.prompt_states import IS_IN_FLIGHT, IS_WAITING
from karma.store.schema import PARKED, prompts, streams, work_items
from karma.store.statements import Query, among

# The order has PostgreSQL use the index, whatever it takes the number of those that wait for.
_ANY_ACCEPTED = Query(select(prompts.c.id).where(IS_WAITING).order_by(prompts.c.stream, prompts.c.priority).limit(1))

_OF_STREAM = IS_WAITING & (prompts.c.stream == streams.c.name)
_HIGHEST = select(func.max(prompts.c.priority)).where(_OF_STREAM).scalar_subquery()
_WANTING = Query(select(streams.c.name, streams.c.goal, _HIGHEST))

_NEXT = IS_WAITING & (prompts.c.stream == bindparam("stream")) & (prompts.c.priority == bindparam("priority"))
_WAITING = Query(
    select(
        *(prompts.c[name] for name in ("id", "prompt_id", "skill", "given")),
        func.length(prompts.c.messages),
    )
    .where(_NEXT)
    .order_by(prompts.c.id)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True),
    *("stream", "priority", "limit"),
)
_FIRST = select(prompts.c.id, prompts.c.given).where(_NEXT).order_by(prompts.c.id).limit(bindparam("limit")).subquery()
_PARKED = select(work_items.c.id).where(work_items.c.prompt == _FIRST.c.id, work_items.c.batch == PARKED)
_WITHOUT_CALLS = Query(
    select(_FIRST.c.id).where(_FIRST.c.given.is_not(None) | _PARKED.exists()).limit(1),
    *("stream", "priority", "limit"),
)

_IN_FLIGHT = Query(select(prompts.c.stream, func.count()).where(IS_IN_FLIGHT).group_by(prompts.c.stream))
_HELD_UP = Query(
    select(prompts.c.stream, func.count(work_items.c.prompt.distinct()))
    .select_from(work_items.join(prompts, prompts.c.id == work_items.c.prompt))
    .where(among(work_items.c.stage, "stages"), among(work_items.c.target, "closed"), IS_IN_FLIGHT)
    .group_by(prompts.c.stream),
    *("stages", "closed"),
)


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
    return [Waiting(*row) for row in _WAITING.rows(connection, stream, priority, limit)]


def any_without_calls(connection: Connection, stream: str, priority: int, limit: int) -> bool:
    """Whether one of the first accepted prompts of a stream and a priority has responses or parked work."""
    return bool(_WITHOUT_CALLS.rows(connection, stream, priority, limit))


def in_flight(connection: Connection, closed: Collection[str]) -> dict[str, int]:
    """The number of admitted prompts per stream, without those that wait for a `closed` model or judge."""
    number = dict(_IN_FLIGHT.rows(connection))
    for stream, count in _HELD_UP.rows(connection, ("generate", "judge"), closed):
        number[stream] -= count
    return number
