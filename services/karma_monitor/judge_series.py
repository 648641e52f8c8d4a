"""The series of judges from a snapshot: self-preference, and what the word of each counts for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from karma.ranking.snapshot import Snapshot
from karma.telemetry import judge_metrics
from karma.telemetry.bounded_metrics import Gauge, shown


class _Bounded(Protocol):
    """A figure with its 95 % interval; None where it is unknown."""

    @property
    def low(self) -> float | None: ...

    @property
    def high(self) -> float | None: ...


def show_judges(snapshot: Snapshot) -> None:
    """Show the judges of a snapshot. Those beyond the label's limit are left out: shares of `other` mean nothing."""
    own = {judge: one for judge, one in snapshot.self_preference.items() if shown("judge", judge) == judge}
    judge_metrics.SELF_PREFERENCE_VERDICTS.replace({(judge,): one.verdicts for judge, one in own.items()})
    _show(judge_metrics.SELF_PREFERENCE, {judge: (one.excess, one) for judge, one in own.items()})
    jury = {judge: one for judge, one in snapshot.jury.judges.items() if shown("judge", judge) == judge}
    judge_metrics.JUDGE_WEIGHT.replace({(judge,): one.weight for judge, one in jury.items()})
    judge_metrics.JUDGE_WEIGHED.replace({(judge,): one.pairs for judge, one in jury.items()})
    _show(judge_metrics.JUDGE_ACCURACY, {judge: (one.accuracy, one) for judge, one in jury.items()})


def _show(gauge: Gauge, found: Mapping[str, tuple[float | None, _Bounded]]) -> None:
    """Show an estimate of each judge and the ends of its interval, as far as they are known."""
    gauge.replace(
        {
            (judge, bound): value
            for judge, (estimate, one) in found.items()
            for bound, value in (("estimate", estimate), ("low", one.low), ("high", one.high))
            if value is not None
        }
    )
