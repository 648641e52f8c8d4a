"""The judge calls of the last hour, of streams with an hourly limit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from karma.config.pool import Pool
from karma.ranking.judge_calls import JudgeCalls
from karma_monitor.queries.pairs import judge_budgets


@dataclass(frozen=True)
class HourlyCalls:
    """The calls of a stream that count against its limit: those of the last 60 minutes."""

    calls_last_hour: int
    calls_per_hour: float  # the limit


def hourly_calls(connection: Connection, pool: Pool, now: float) -> dict[str, HourlyCalls]:
    """By stream with an hourly limit and a pair: its calls. `now` in seconds since 1970."""
    found = {}
    for row in judge_budgets(connection):
        limit = pool.stream(row.stream).judge_calls_per_hour
        if limit is not None:
            state = json.loads(row.body) if row.body else {}
            calls = JudgeCalls.of(state.get("recent", ())).at(now).calls
            found[row.stream] = HourlyCalls(calls, limit)
    return found


def budget_left(found: Mapping[str, HourlyCalls]) -> float | None:
    """The share of the hourly judge calls that is left, over all streams with a limit; None where none is known.

    A limit on the share of judged pairs is no amount that can be left.
    """
    spent = sum(min(each.calls_last_hour, each.calls_per_hour) for each in found.values())
    allowed = sum(each.calls_per_hour for each in found.values())
    return 1.0 - spent / allowed if allowed else None


def summed(found: Mapping[str, HourlyCalls], pool: Pool) -> dict[str, float] | None:
    """Calls and limits, summed up over the streams that have a limit and a pair; None where the pool has no limit."""
    if all(stream.judge_calls_per_hour is None for stream in (pool.default_stream, *pool.streams.values())):
        return None
    return {
        "calls_last_hour": sum(each.calls_last_hour for each in found.values()),
        "calls_per_hour": sum(each.calls_per_hour for each in found.values()),
        "streams": len(found),
    }
