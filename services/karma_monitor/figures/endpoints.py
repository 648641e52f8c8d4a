"""Failures, latency and tokens per second of each model and judge, over the newest calls."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from karma.config.pool import Pool
from karma.store import Transaction
from karma.telemetry.failure_kinds import kind_of
from karma_monitor.figures.sampling import sampling
from karma_monitor.queries.recent import newest_responses, newest_verdicts

#: Most calls of each kind in the window, and most that are read at once.
CALLS = 2_000
_AT_ONCE = 500

#: Tokens per second are those of the last minute at most.
_RATE_S = 60.0

#: Most models, and most judges, that are named; given responses may name any number of models.
NAMES = 200

_REASONS = 5  # of failures, most frequent first


class Calls:
    """The newest calls of one kind without a gap: where more are new than one read returns, older ones are dropped."""

    def __init__(self, newest: Callable[[Connection, int, int], list[Any]]) -> None:
        self._newest = newest
        self._calls: deque[Any] = deque(maxlen=CALLS)
        self.mark = 0  # the newest call's id

    def renew(self, connection: Connection) -> None:
        """Read the new calls."""
        limit = _AT_ONCE if self._calls else CALLS
        rows = self._newest(connection, self.mark, limit)
        if len(rows) == limit:
            self._calls.clear()
        if rows:
            self.mark = rows[0].id
            self._calls.extend(reversed(rows))

    def by_name(self) -> dict[str, list[Any]]:
        """The calls of each model or judge, oldest first."""
        found: dict[str, list[Any]] = {}
        for call in self._calls:
            found.setdefault(call.name, []).append(call)
        return found

    @property
    def since(self) -> float | None:
        """When the oldest call of the window was recorded; None without calls."""
        return self._calls[0].created_at if self._calls else None


class Endpoints:
    """Models and judges over the newest calls."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._sampling: tuple[int, dict[str, Any]] = (0, {})  # newest response, figures up to it
        self.left_out = 0  # names beyond the most that are shown
        self._kinds = {"model": Calls(newest_responses), "judge": Calls(newest_verdicts)}

    def renew(self, transaction: Transaction) -> list[dict[str, Any]]:
        """The models and judges of the pool and those with most of the newest calls, models first."""
        connection, now = transaction.ledger.connection, transaction.ledger.now
        waiting = {
            "model": transaction.work.open_by_target("generate"),
            "judge": transaction.work.open_by_target("judge"),
        }
        named = {"model": self._pool.models, "judge": self._pool.judges}
        found: list[dict[str, Any]] = []
        left_out = 0
        for kind, calls in self._kinds.items():
            calls.renew(connection)
            by_name = calls.by_name()
            if kind == "model" and self._sampling[0] != calls.mark:  # a quiet store is not read again
                self._sampling = (calls.mark, sampling(connection, self._pool))
            sampled = self._sampling[1] if kind == "model" else {}
            names = list(dict.fromkeys([*named[kind], *sorted(by_name, key=lambda name: -len(by_name[name]))]))
            left_out += len(names[NAMES:])
            for name in names[:NAMES]:
                figures = _figures(by_name.get(name, []), calls.since, now)
                how = sampled.get(name, {"dropped": {}, "samples": None})
                found.append({"name": name, "kind": kind, **figures, "open": waiting[kind].get(name, 0), **how})
        self.left_out = left_out
        return found


def _figures(calls: list[Any], since: float | None, now: float) -> dict[str, Any]:
    times = sorted(call.latency_s for call in calls if call.latency_s is not None)
    reasons = Counter(kind_of(call.failure) for call in calls if call.failure is not None)
    return {
        "calls": len(calls),
        "window_s": None if since is None else max(0.0, now - since),
        "failed": reasons.total(),
        "p50_s": _quantile(times, 0.5),
        "p95_s": _quantile(times, 0.95),
        "tokens_per_s": _tokens_per_s(calls, since, now),
        "failures": dict(reasons.most_common(_REASONS)),
    }


def _tokens_per_s(calls: list[Any], since: float | None, now: float) -> float | None:
    if since is None or not any(call.tokens_out is not None for call in calls):
        return None
    begun = max(since, now - _RATE_S)
    tokens = sum(call.tokens_out or 0 for call in calls if call.created_at >= begun)
    return float(tokens / max(now - begun, 1.0))


def _quantile(ordered: list[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None
