"""The newest resolved pairs, calls and failures: windows, never whole tables."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select

from karma.ranking.verdict_sources import HUMAN
from karma.store.chunks import chunks
from karma.store.prompt_states import IS_DONE
from karma.store.schema import prompts, resolutions, responses, verdicts
from karma.verdicts import CANARY


def newest_resolved(connection: Connection, limit: int) -> list[tuple[int, float]]:
    """The newest resolved pairs as (pair, time), newest first; without canaries."""
    query = select(resolutions.c.pair, resolutions.c.resolved_at).order_by(resolutions.c.resolved_at.desc())
    query = query.where(resolutions.c.outcome != CANARY)
    return [(row.pair, row.resolved_at) for row in connection.execute(query.limit(limit))]


def newest_resolved_in(connection: Connection, stream: str, limit: int) -> list[tuple[int, float]]:
    """The same of one stream: the pairs of its newest finished prompts."""
    newest = select(prompts.c.id).where(IS_DONE, prompts.c.stream == stream).order_by(prompts.c.id.desc()).limit(limit)
    found: list[tuple[int, float]] = []
    for chunk in chunks(connection.execute(newest).scalars().all()):
        query = select(resolutions.c.pair, resolutions.c.resolved_at).where(resolutions.c.prompt.in_(chunk))
        query = query.where(resolutions.c.outcome != CANARY)
        found += [(row.pair, row.resolved_at) for row in connection.execute(query)]
        if len(found) >= limit:
            break
    return sorted(found, key=lambda row: (row[1], row[0]), reverse=True)[:limit]


def newest_responses(connection: Connection, after: int, limit: int) -> list[Any]:
    """The newest responses with ids above `after` as calls, newest first: name, when, how long, tokens, failure."""
    return _calls(connection, responses, responses.c.model, after, limit)


def newest_verdicts(connection: Connection, after: int, limit: int) -> list[Any]:
    """The newest verdicts of judges with ids above `after` as calls, newest first; people are not called."""
    return _calls(connection, verdicts, verdicts.c.judge, after, limit, verdicts.c.template_hash != HUMAN)


def _calls(connection: Connection, table: Any, name: Any, after: int, limit: int, *among: Any) -> list[Any]:
    columns = (table.c[column] for column in ("id", "created_at", "latency_s", "tokens_out", "failure"))
    query = select(*columns, name.label("name")).where(table.c.id > after, *among).order_by(table.c.id.desc())
    return list(connection.execute(query.limit(limit)))


def failed_responses(connection: Connection, limit: int) -> list[Any]:
    """Failed responses of the newest prompts: model, reason, time."""
    return _failures(connection, responses, responses.c.model, responses.c.prompt, limit)


def failed_verdicts(connection: Connection, limit: int) -> list[Any]:
    """Failed verdicts on the newest pairs: judge, reason, time."""
    return _failures(connection, verdicts, verdicts.c.judge, verdicts.c.pair, limit)


def _failures(connection: Connection, table: Any, name: Any, newest: Any, limit: int) -> list[Any]:
    columns = name.label("name"), table.c.failure.label("reason"), table.c.created_at.label("at")
    query = select(*columns).where(table.c.failure.is_not(None)).order_by(newest.desc()).limit(limit)
    return list(connection.execute(query))


def unscored_pairs(connection: Connection, limit: int) -> list[Any]:
    """The newest pairs without a valid verdict: stream, reason, time."""
    query = (
        select(prompts.c.stream.label("name"), resolutions.c.reason, resolutions.c.resolved_at.label("at"))
        .join(prompts, prompts.c.id == resolutions.c.prompt)
        .where(resolutions.c.outcome == "unscored")
        .order_by(resolutions.c.resolved_at.desc())
        .limit(limit)
    )
    return list(connection.execute(query))


def ended_without_pair(connection: Connection, stream: str, since: float, after: int) -> int:
    """Prompts of a stream with ids above `after` that ended without a pair since then."""
    query = select(func.count()).where(
        prompts.c.stream == stream, prompts.c.no_pair.is_not(None), prompts.c.id > after, prompts.c.ended_at >= since
    )
    return int(connection.execute(query).scalar_one())
