"""The share of this hour's judge calls that is left, over all streams with an hourly limit."""

from __future__ import annotations

import json

from sqlalchemy import Connection

from karma.config.pool import Pool
from karma_monitor.queries.pairs import judge_budgets

_HOUR_S = 3600.0


def budget_left(connection: Connection, pool: Pool, now: float) -> float | None:
    """The share of this hour's judge calls that is left; None where no stream has an hourly limit.

    A limit on the share of judged pairs is no amount that can be left.
    """
    if all(stream.judge_calls_per_hour is None for stream in (pool.default_stream, *pool.streams.values())):
        return None
    allowed = spent = 0.0
    for row in judge_budgets(connection):
        limit = pool.stream(row.stream).judge_calls_per_hour
        if limit is None:
            continue
        state = json.loads(row.body) if row.body else {}
        calls_per_pair = sum(2 if judge.both_orders else 1 for judge in pool.stream_judges(row.stream))
        allowed += limit
        if now - state.get("hour_began", 0.0) < _HOUR_S:
            spent += min(limit, state.get("hour_judged", 0.0) * max(1, calls_per_pair))
    return 1.0 - spent / allowed if allowed else None
