"""Limits of endpoints as they are now: circuit breakers, concurrent calls, and calls per minute."""

from __future__ import annotations

from typing import Any

from karma.config.pool import Pool
from karma.queue.endpoint_limits import EndpointView, endpoints, read_limits


def endpoint_limits(redis: Any, pool: Pool, now: float) -> dict[str, dict[str, Any]]:
    """The limits of the pool's models and judges that are called at an endpoint, by name.

    Raises:
        BrokerOutageError: Redis is unavailable.
    """
    called = endpoints([*pool.models.values(), *pool.judges.values()])
    return {view.name: figures_of(view) for view in read_limits(redis, called, now)}


def figures_of(view: EndpointView) -> dict[str, Any]:
    """The limits of one model or judge as plain data; times in seconds, None is unknown."""
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


def down(name: str, kind: str, figures: dict[str, Any]) -> str:
    """That an endpoint is left alone, and why, in one sentence."""
    since, next_s = figures["open_s"] or 0.0, figures["probe_in_s"] or 0.0
    tries = f"the next call tries in {next_s:.0f} s" if next_s else "one call tries it now"
    return (
        f"The {kind} {name} has not been called for {since:.0f} s: {figures['reason']}; {tries}. Its work waits, and "
        "nothing more is admitted for it."
    )
