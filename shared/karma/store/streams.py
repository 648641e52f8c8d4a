"""Pauses: of which streams nothing more is admitted. What was admitted goes on to its end."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select

from karma.store.schema import EVERYTHING, pauses, streams
from karma.store.sql import insert_new


def pause(connection: Connection, stream: str | None, now: float) -> bool:
    """Pause a stream, or all (None); whether it was not paused already. A stream need not exist yet."""
    row = {"stream": EVERYTHING if stream is None else stream, "since": now}
    return connection.execute(insert_new(connection, pauses).returning(pauses.c.stream), [row]).first() is not None


def resume(connection: Connection, stream: str | None) -> bool:
    """Go on with a stream, or with everything that is paused, streams by name too (None); whether anything was."""
    statement = delete(pauses)
    if stream is not None:
        statement = statement.where(pauses.c.stream == stream)
    return bool(connection.execute(statement).rowcount)


def paused(connection: Connection) -> dict[str, float]:
    """What is paused, and since when (seconds since 1970); the pause of all streams is called `EVERYTHING`."""
    query = select(pauses.c.stream, pauses.c.since).order_by(pauses.c.stream)
    return {row.stream: row.since for row in connection.execute(query)}


def stream_names(connection: Connection, limit: int, name: str | None = None) -> list[str]:
    """The names of streams, the most recently begun first; only `name` if it is given and exists."""
    query = select(streams.c.name).order_by(streams.c.created_at.desc(), streams.c.name).limit(limit)
    return list(connection.execute(query if name is None else query.where(streams.c.name == name)).scalars())
