"""Counts: the only SQL statement behind each number of prompts, responses, pairs, verdicts and resolutions.

Most scan an index: about 0.1 s for a million rows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Select, Table, func, literal, select, union_all

from karma.store.pair_rows import IS_UNSURE
from karma.store.prompt_states import IS_DEAD, IS_ENDED, IS_IN_FLIGHT, IS_WAITING
from karma.store.schema import gates, pairs, prompts, resolutions, responses, streams, verdicts
from karma.verdicts import CANARY, OUTCOMES

Resolutions = Mapping[tuple[str, str | None], int]

#: The tables whose rows are counted, by name.
TABLES: Mapping[str, Table] = {"prompts": prompts, "responses": responses, "pairs": pairs, "verdicts": verdicts}


def prompts_by_state(connection: Connection, streams: Sequence[str] | None = None) -> Counter[tuple[str, str]]:
    """Prompts by stream and state; of `streams`, or of all. The indexes hold each kind apart from the others."""
    counted = [
        _count(literal("accepted"), IS_WAITING),
        _count(prompts.c.state, IS_IN_FLIGHT),
        _count(literal("ended"), IS_ENDED),
        _count(literal("dead"), IS_DEAD),
    ]
    if streams is not None:
        counted = [query.where(prompts.c.stream.in_(list(streams))) for query in counted]
    # One statement sees one moment.
    found = Counter({(stream, state): count for state, stream, count in connection.execute(union_all(*counted))})
    for stream, state in [key for key in found if key[1] == "ended"]:
        found[stream, "done"] = found.pop((stream, state)) - found[stream, "dead"]
    return +found


def _count(state: ColumnElement[str], condition: ColumnElement[bool]) -> Select[Any]:
    query = select(state.label("state"), prompts.c.stream, func.count()).where(condition)
    return query.group_by(*(column for column in (state, prompts.c.stream) if isinstance(column, Column)))


def in_flight_by_stream(connection: Connection) -> dict[str, Counter[str]]:
    """Stream → its prompts in flight, by state. The index holds them apart from all others."""
    columns = prompts.c.stream, prompts.c.state
    query = select(*columns, func.count()).where(IS_IN_FLIGHT)
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for stream, state, count in connection.execute(query.group_by(*columns)):
        found[stream][state] = count
    return found


def stream_list(connection: Connection) -> list[str]:
    """The names of all streams."""
    return list(connection.execute(select(streams.c.name)).scalars())


def prompts_without_pair(connection: Connection) -> Counter[str]:
    """Prompts that ended without a pair, by stream."""
    query = select(prompts.c.stream, func.count()).where(prompts.c.no_pair.is_not(None)).group_by(prompts.c.stream)
    return Counter({row[0]: row[1] for row in connection.execute(query)})


def rows(connection: Connection, table: str, low: int = 0, high: int | None = None) -> int:
    """Rows of a table; only those with ids from `low` to `high` where `high` is given."""
    query = select(func.count()).select_from(TABLES[table])
    return one(connection, query if high is None else query.where(TABLES[table].c.id.between(low, high)))


def failed(connection: Connection, table: str) -> int:
    """Failed responses or verdicts."""
    return one(connection, select(func.count()).select_from(TABLES[table]).where(TABLES[table].c.failure.is_not(None)))


def resolutions_by_outcome(
    connection: Connection, after: float | None = None, until: float | None = None
) -> Counter[tuple[str, str | None]]:
    """Resolved pairs by outcome and label source (None where not decisive), with `after` < time ≤ `until`."""
    columns = resolutions.c.outcome, resolutions.c.label_source
    query = select(*columns, func.count()).group_by(*columns)
    if after is not None:
        query = query.where(resolutions.c.resolved_at > after)
    if until is not None:
        query = query.where(resolutions.c.resolved_at <= until)
    return Counter({(outcome, source): count for outcome, source, count in connection.execute(query)})


def outcomes(resolved: Resolutions) -> dict[str, int]:
    """Resolved pairs by outcome; outcomes without a pair are 0. Canaries are left out."""
    by_outcome: dict[str, int] = dict.fromkeys(OUTCOMES, 0)
    for (outcome, _source), count in resolved.items():
        if outcome != CANARY:
            by_outcome[outcome] += count
    return by_outcome


def preferences(resolved: Resolutions) -> dict[str, int]:
    """Decisive pairs by the source of their label."""
    return {source: resolved.get(("decisive", source), 0) for source in ("judge", "predicted")}


def unsure_labels(connection: Connection) -> int:
    """Predicted labels of pairs that the posterior was not sure about: no export has them unless it is asked to."""
    asked = select(func.count()).select_from(gates).where(gates.c.body.contains('"sure"', autoescape=True))
    if not one(connection, asked):
        return 0  # without reading every pair
    query = select(func.count()).select_from(resolutions).join(pairs, pairs.c.id == resolutions.c.pair)
    return one(connection, query.where(resolutions.c.label_source == "predicted", IS_UNSURE))


def one(connection: Connection, query: Any) -> int:
    """The integer that a query returns; null counts as 0."""
    return int(connection.execute(query).scalar_one() or 0)
