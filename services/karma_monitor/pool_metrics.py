"""Metrics of what the pool file limits: calls per hour, prices, and the endpoints of models and judges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from karma.config.pool import Pool
from karma.telemetry import metrics
from karma.telemetry.bounded_metrics import shown
from karma_monitor.figures.budget import HourlyCalls
from karma_monitor.figures.limits import endpoint_limits


def show_hourly_calls(found: Mapping[str, HourlyCalls]) -> None:
    """Show the judge calls of the last hour and their limits; a limit cannot be summed up in `other`."""
    own = {stream: calls for stream, calls in found.items() if shown("stream", stream) == stream}
    metrics.JUDGE_CALLS_LAST_HOUR.replace({(stream,): calls.calls_last_hour for stream, calls in own.items()})
    metrics.JUDGE_CALLS_LIMIT.replace({(stream,): calls.calls_per_hour for stream, calls in own.items()})


def show_budgets(found: Mapping[str, Mapping[str, Any]]) -> None:
    """Show limits in USD and what is spent of them, by the figures of `budgets_usd`."""
    columns = (
        ("total", "limit", "budget_usd"),
        ("total", "spent", "spent_usd"),
        ("day", "limit", "budget_usd_per_day"),
        ("day", "spent", "spent_today_usd"),
    )
    metrics.BUDGET.replace(
        {
            (stream, period, of): budget[column]
            for stream, budget in found.items()
            if shown("stream", stream) == stream
            for period, of, column in columns
            if budget[column] is not None
        }
    )


def show_prices(pool: Pool) -> None:
    """Show the prices that the pool file gives."""
    for kind, names in (("generate", pool.models), ("judge", pool.judges)):
        for name in names:
            if name in pool.prices:
                metrics.PRICE.labels(kind, name, "in").set(pool.prices[name].input / 1e6)
                metrics.PRICE.labels(kind, name, "out").set(pool.prices[name].output / 1e6)


def show_limits(redis: Any, pool: Pool, now: float) -> None:
    """Set the gauges of every endpoint.

    Raises:
        BrokerOutageError: Redis is unavailable.
    """
    found = endpoint_limits(redis, pool, now)
    metrics.ENDPOINT_OPEN.show({(name,): float(one["breaker"] != "closed") for name, one in found.items()})
    metrics.ENDPOINT_CALLS.show(
        {
            (name, state): float(value)
            for name, one in found.items()
            for state, value in (
                ("limit", one["concurrency"]),
                ("in_progress", one["in_progress"]),
                ("waiting", one["waiting"]),
            )
            if value is not None
        }
    )
    metrics.BATCH_JOBS.show(
        {(name,): float(one["batch_jobs"]["jobs"]) for name, one in found.items() if one["batch_jobs"]}
    )
    metrics.ENDPOINT_RATE.show(
        {
            (name, source): float(value)
            for name, one in found.items()
            for source, value in (("configured", one["requests_per_minute"]), ("learned", one["learned_per_minute"]))
            if value is not None
        }
    )
