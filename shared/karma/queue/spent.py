"""Spent streams: those whose budget is spent, as a set in Redis that workers look at before each call.

Whoever records calls adds a stream after the commit with which its spending reached the budget. The gateway asserts
the set from the ledger at each sweep: it is complete again after Redis lost it, and shrinks when a budget is raised.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from typing import Any, Final

from karma.errors import BrokerOutageError
from karma.lease import LeaseState
from karma.queue.redis import SPENT_KEY, outages

#: Stages that call models, and so cost money.
ASKING_STAGES: Final = ("generate", "judge")

#: All streams together, as in the ledger.
EVERYTHING: Final = "*"

#: Seconds that a worker goes by what it read last: a call that begins within them counts as one in flight.
_FRESH_S = 0.02
#: Seconds until Redis is asked again after it did not answer. What was read last holds until then: no call is recorded
#: while Redis is unavailable, so none spends a budget.
_OUTAGE_S = 1.0


def spent_streams(redis: Any) -> set[str]:
    """The streams whose budget is spent; `EVERYTHING`: that of all streams.

    Raises:
        BrokerOutageError: Redis is unavailable.
    """
    with outages():
        return {raw.decode("utf-8", "replace") for raw in redis.smembers(SPENT_KEY)}


def mark_spent(redis: Any, streams: Collection[str]) -> None:
    """Add streams whose budget is spent. Best effort: the gateway does it again at its next sweep."""
    if streams:
        try:
            with outages():
                redis.sadd(SPENT_KEY, *sorted(streams))
        except BrokerOutageError:
            return


def replace_spent(redis: Any, before: Collection[str], spent: Collection[str]) -> None:
    """Assert the set; of those that were in it `before` the ledger was read, those that are not spent are removed.

    A stream that was added since then stays, as the ledger was read too early to know.

    Raises:
        BrokerOutageError: Redis is unavailable.
    """
    with outages():
        if added := sorted(set(spent) - set(before)):
            redis.sadd(SPENT_KEY, *added)
        if gone := sorted(set(before) - set(spent)):
            redis.srem(SPENT_KEY, *gone)


def waits_for_budget(stage: str, stream: str, spent: Collection[str]) -> bool:
    """Whether work of a stage and stream is kept until a budget is raised."""
    return stage in ASKING_STAGES and (stream in spent or EVERYTHING in spent)


class SpentStreams:
    """The spent streams as a worker's calls see them, for any number of threads; without Redis none is."""

    def __init__(self, redis: Any | None = None) -> None:
        self._redis = redis
        self._known: set[str] = set()
        self._next_s = float("-inf")  # monotonic time from which on Redis is asked again
        self._lock = threading.Lock()

    def lease(self, stream: str) -> LeaseState:
        """`stop` for a spent stream."""
        if self._redis is None:
            return "go"
        with self._lock:
            if time.monotonic() >= self._next_s:
                fresh_s = _FRESH_S
                try:
                    self._known = spent_streams(self._redis)
                except BrokerOutageError:
                    fresh_s = _OUTAGE_S
                self._next_s = time.monotonic() + fresh_s
            known = self._known
        return "stop" if stream in known or EVERYTHING in known else "go"
