"""Streams, their pauses, and the goals that they began with.

A pause stops the admission of prompts; admitted prompts are finished.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection, delete, select, update

from karma.errors import SettingsError, did_you_mean
from karma.store.chunks import rows_in
from karma.store.schema import EVERYTHING, pauses, streams
from karma.store.sql import insert_new
from karma.store.statements import Query

#: Streams among which the nearest name is sought.
_NAMED = 1000

_PAUSED = Query(select(pauses.c.stream, pauses.c.since).order_by(pauses.c.stream))
_ENDS = Query(
    select(streams.c.name, streams.c.until_preferences, streams.c.most_admitted).where(
        streams.c.until_preferences.is_not(None)
    )
)


def pause(connection: Connection, stream: str | None, now: float) -> bool:
    """Pause a stream, or all (None); returns False if it was paused already. The stream need not exist yet."""
    row = {"stream": EVERYTHING if stream is None else stream, "since": now}
    return connection.execute(insert_new(connection, pauses).returning(pauses.c.stream), [row]).first() is not None


def resume(connection: Connection, stream: str | None) -> bool:
    """End the pause of a stream, or every pause (None); returns whether there was any."""
    statement = delete(pauses)
    if stream is not None:
        statement = statement.where(pauses.c.stream == stream)
    return bool(connection.execute(statement).rowcount)


def paused(connection: Connection) -> dict[str, float]:
    """Paused stream → since when, in seconds since 1970; `EVERYTHING` is the pause of all streams."""
    return dict(_PAUSED.rows(connection))


def stream_names(connection: Connection, limit: int, name: str | None = None) -> list[str]:
    """The names of streams, newest first; only `name` if it is given and exists."""
    query = select(streams.c.name).order_by(streams.c.created_at.desc(), streams.c.name).limit(limit)
    return list(connection.execute(query if name is None else query.where(streams.c.name == name)).scalars())


def record_goal(connection: Connection, stream: str, goal: str) -> None:
    """Record the goal that a stream begins with, unless it has one or another transaction is recording it."""
    free = select(streams.c.name).where(streams.c.name == stream, streams.c.goal.is_(None))
    free = free.with_for_update(skip_locked=True, key_share=True)  # prompts may be added to it meanwhile
    connection.execute(update(streams).where(streams.c.name.in_(free)).values(goal=goal))


class StreamEnd(NamedTuple):
    """Where the admission of a stream stops: at so many preferences, or at so many admitted prompts (None: all)."""

    preferences: int
    most_admitted: int | None


def stream_ends(connection: Connection) -> dict[str, StreamEnd]:
    """The ends of streams that have one (`karma enqueue --until`)."""
    return {name: StreamEnd(preferences, most) for name, preferences, most in _ENDS.rows(connection)}


def set_stream_end(connection: Connection, stream: str, end: StreamEnd | None) -> None:
    """Write the end of a stream that exists; None lifts it."""
    preferences, most = (None, None) if end is None else end
    values = {"until_preferences": preferences, "most_admitted": most}
    connection.execute(update(streams).where(streams.c.name == stream).values(**values))


def recorded_goals(connection: Connection, names: Iterable[str]) -> dict[str, str | None]:
    """Stream → the goal that it began with; None before its first prompt is admitted."""
    query = select(streams.c.name, streams.c.goal)
    return {row.name: row.goal for row in rows_in(connection, query, streams.c.name, names)}


class StreamGoals:
    """A cache of the goals that streams began with, which never change. For readers that record none themselves."""

    def __init__(self) -> None:
        self._recorded: dict[str, str] = {}

    def of(self, connection: Connection, stream: str) -> str | None:
        """The goal that a stream began with; None before its first prompt is admitted."""
        known = self._recorded.get(stream)
        if known is None:
            known = recorded_goals(connection, [stream]).get(stream)
            if known is not None:
                self._recorded[stream] = known
        return known


def check_stream(connection: Connection, name: str | None) -> None:
    """Refuse a stream that the store does not have; None is all streams.

    Raises:
        SettingsError: there is no such stream; suggests the nearest.
    """
    if name is not None and not stream_names(connection, 1, name):
        raise SettingsError(f"no stream is called {name!r}{did_you_mean(name, stream_names(connection, _NAMED))}")
