"""Rates and the time left, from successive totals."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from karma_monitor.queries.totals import Totals

#: Totals that are further apart give no rate.
CARRY_S = 30.0

_RATE_S = 10.0  # rates are those of the last seconds
_ENDED_S = 120.0  # the time left follows from a longer interval

_NAMES = ("prompts", "responses", "pairs", "verdicts", "preferences")


class Throughput:
    """Rates and the time left."""

    def __init__(self) -> None:
        self._course: deque[tuple[float, Mapping[str, int]]] = deque()
        self._ended: deque[tuple[float, int]] = deque()
        self.rates: dict[str, float | None] = dict.fromkeys(_NAMES)  # rows per second; None before the second totals
        self.time_left_s: float | None = None

    def add(self, totals: Totals) -> None:
        """Add the totals of now. Rates follow from the newest ids: a corrected count is no rate."""
        now = {**totals.marks, "preferences": sum(totals.preferences.values())}
        while self._course and self._course[0][0] < totals.at - CARRY_S:
            self._course.popleft()
        self._course.append((totals.at, now))
        while len(self._course) > 2 and self._course[1][0] <= totals.at - _RATE_S:
            self._course.popleft()
        then, before = self._course[0]
        span_s = totals.at - then
        self.rates = {name: max(0, now[name] - before[name]) / span_s if span_s > 0 else None for name in _NAMES}
        self.time_left_s = self._time_left(totals)

    def _time_left(self, totals: Totals) -> float | None:
        if self._ended and self._ended[-1][0] < totals.at - _ENDED_S:
            self._ended.clear()  # the last totals are too old
        if not self._ended or self._ended[-1][0] < totals.states_at:
            self._ended.append((totals.states_at, totals.ended))
        while len(self._ended) > 2 and self._ended[1][0] <= totals.at - _ENDED_S:
            self._ended.popleft()
        left = sum(totals.states.values()) - totals.ended
        if not left:
            return 0.0 if totals.ended else None
        (then, before), (at, ended) = self._ended[0], self._ended[-1]
        return left * (at - then) / (ended - before) if ended > before else None
