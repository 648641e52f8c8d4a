"""Limits of endpoints as they are now: circuit breakers, concurrent calls, and calls per minute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from karma.batches.open_jobs import OpenJobs, summed
from karma.config.pool import Pool
from karma.queue.endpoint_limits import EndpointView, endpoints, read_limits
from karma.queue.heartbeats import workers


def endpoint_limits(redis: Any, pool: Pool, now: float) -> dict[str, dict[str, Any]]:
    """The limits of the pool's models and judges that are called at an endpoint, by name.

    Raises:
        BrokerOutageError: Redis is unavailable.
    """
    called = endpoints([*pool.models.values(), *pool.judges.values()])
    jobs = summed(one for info in workers(redis) if info.state != "silent" for one in info.batch_jobs)
    return {view.name: figures_of(view, jobs.get(view.name)) for view in read_limits(redis, called, now)}


def figures_of(view: EndpointView, jobs: OpenJobs | None = None) -> dict[str, Any]:
    """The limits and open batch jobs of one model or judge as plain data; times in seconds, None is unknown."""
    state = "closed" if view.open_reason is None else "open" if view.probe_in_s else "half_open"
    return {
        "breaker": state,
        "reason": view.open_reason,
        "open_s": view.open_s,
        "probe_in_s": view.probe_in_s,
        "concurrency": view.limit,
        "in_progress": view.in_progress,
        "waiting": view.waiting,
        "requests_per_minute": view.requests_per_minute,
        "tokens_per_minute": view.tokens_per_minute,
        "learned_per_minute": view.learned_per_minute,
        "blocked_s": view.blocked_s,
        "batch_jobs": None
        if jobs is None
        else {"jobs": jobs.jobs, "requests": jobs.requests, "gathered": jobs.gathered},
    }


def rate_limit(figures: dict[str, Any]) -> str | None:
    """The limit per time in words; None without one."""
    parts = []
    if figures["requests_per_minute"] is not None:
        parts.append(f"{figures['requests_per_minute']:,.0f} requests/min")
    if figures["tokens_per_minute"] is not None:
        parts.append(f"{figures['tokens_per_minute']:,.0f} tokens/min")
    if figures["learned_per_minute"] is not None:
        parts.append(f"about {figures['learned_per_minute']:,.0f} requests/min by its refusals")
    if figures["blocked_s"]:
        parts.append(f"none for {figures['blocked_s']:.0f} s by its own word")
    return "; ".join(parts) or None


def described_jobs(called: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """For people: the open batch jobs of each model and judge of a status."""
    for name, one in called.items():
        if jobs := one.get("batch_jobs"):
            gathered = f"; {jobs['gathered']:,} requests are in no job yet" if jobs["gathered"] else ""
            waiting = f"{jobs['jobs']:,} batch jobs at the provider, {jobs['requests']:,} requests wait for them"
            yield f"{name}: {waiting}{gathered}"


def down(name: str, kind: str, figures: dict[str, Any]) -> str:
    """That an endpoint is left alone, and why, in one sentence."""
    since, next_s = figures["open_s"] or 0.0, figures["probe_in_s"] or 0.0
    tries = f"the next call tries in {next_s:.0f} s" if next_s else "one call tries it now"
    return (
        f"The {kind} {name} has not been called for {since:.0f} s: {figures['reason']}; {tries}. Its work waits, and "
        "nothing more is admitted for it."
    )
