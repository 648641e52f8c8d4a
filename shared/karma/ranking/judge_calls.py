"""Judge calls of a stream in the last hour, and the share of the next pairs that an hourly limit leaves to be judged.

Calls are counted by minute. A minute counts until it is wholly older than an hour, so a limit on this count is a limit
on the calls of any 60 minutes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

_MINUTE_S = 60.0
_HOUR_MIN = 60
_WINDOWS_MIN = np.array([1, 2, 4, 8, 16, 32, 60])  # over which the rate of pairs is measured
_HORIZONS_MIN = np.arange(1, _HOUR_MIN + 1)
_LIFE = 2.0  # times as many pairs, and as long, are expected to follow as came; see `affordable_share`


@dataclass(frozen=True)
class JudgeCalls:
    """Pairs and judge calls by minute over the last hour: (minute since 1970, pairs, calls), oldest first."""

    minutes: tuple[tuple[int, int, int], ...] = ()

    @classmethod
    def of(cls, minutes: Iterable[Iterable[int]]) -> JudgeCalls:
        """From lists, as JSON has them."""
        return cls(tuple((int(minute), int(pairs), int(calls)) for minute, pairs, calls in minutes))

    def at(self, now: float) -> JudgeCalls:
        """Without the minutes that are wholly older than an hour; `now` in seconds since 1970.

        Clocks of workers differ: a newest minute after `now` counts as the present one. If it is more than an hour
        ahead, a clock was wrong, and all calls count as made now.
        """
        present = int(now // _MINUTE_S)
        if self.minutes and self.minutes[-1][0] > present + _HOUR_MIN:
            return JudgeCalls(((present, sum(row[1] for row in self.minutes), self.calls),))
        if not self.minutes or self.minutes[0][0] >= present - _HOUR_MIN:
            return self
        return JudgeCalls(tuple(row for row in self.minutes if row[0] >= present - _HOUR_MIN))

    @property
    def calls(self) -> int:
        """Calls of the minutes that are counted."""
        return sum(calls for _minute, _pairs, calls in self.minutes)

    def with_new(self, now: float, pairs: int, calls: int) -> JudgeCalls:
        """With pairs that came now, and calls on them."""
        kept = self.at(now).minutes
        minute = max(int(now // _MINUTE_S), kept[-1][0] if kept else 0)
        if kept and kept[-1][0] == minute:
            pairs, calls, kept = kept[-1][1] + pairs, kept[-1][2] + calls, kept[:-1]
        return JudgeCalls((*kept, (minute, pairs, calls)))

    def affordable_pairs(self, calls_per_hour: float, calls_per_pair: int) -> int:
        """The pairs that may be judged now, after `at(now)`."""
        return max(0, int((calls_per_hour - self.calls) // calls_per_pair))

    def affordable_share(self, calls_per_hour: float, calls_per_pair: int, now: float) -> float:
        """The share of the present and next pairs that can be judged within the limit, in [0, 1]; 0 where it is spent.

        At this share, the pairs expected within any time up to an hour cost no more calls than are left and become free
        within that time. Pairs are expected to come at the highest rate of the last 1, 2, … 60 minutes, but a
        rate is expected to last no more than twice as long as it was seen to last: a process observed at a
        random moment lasts no longer than that with probability 2/3 (Gott 1993, Nature 363, 315–319). So a burst after
        idle time gets most of what is left, and a steady stream spends evenly.

        Args:
            calls_per_hour: the limit.
            calls_per_pair: of a judged pair.
            now: seconds since 1970; the pairs that came now are counted already (`with_new`).
        """
        kept = self.at(now).minutes
        if not kept:
            return 1.0
        present = max(now / _MINUTE_S, float(kept[-1][0]))
        minute, new, spent = np.array(kept).T
        age = np.minimum(int(present) - minute, _HOUR_MIN)
        pairs, calls = (np.bincount(age, weights, minlength=_HOUR_MIN + 1) for weights in (new, spent))
        seen = np.cumsum(pairs)[_WINDOWS_MIN]
        time_min = _WINDOWS_MIN + present % 1.0  # whole minutes and the part of the present one
        coming = (seen * np.minimum(_LIFE, _HORIZONS_MIN[:, None] / time_min)).max(axis=1)
        becoming_free = np.concatenate([[0.0], np.cumsum(calls[:1:-1])])
        left = np.floor((calls_per_hour - calls.sum() + becoming_free) / calls_per_pair)
        return float(np.clip(left / np.maximum(coming, 1.0), 0.0, 1.0).min())
