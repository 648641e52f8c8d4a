"""Streams under an hourly limit on judge calls: cases of `hard_cases`."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from karma_matching.budget.allocation import Budget, BudgetState, decide, judge_all
from tests.benchmarks.finding import Finding

Array = NDArray[np.float64]

LIMIT, CALLS_PER_PAIR = 1000, 2
_HOUR_S = 3600.0
_BEGAN = 1.8e9  # seconds since 1970


@dataclass(frozen=True, eq=False)
class Spending:
    """What a stream of pairs, one a prompt, spent."""

    times: Array  # when each pair came, seconds
    judged: NDArray[np.bool_]
    probability: Array  # recorded

    def calls(self, began_s: float, ended_s: float) -> float:
        """Calls within a time since the first pair."""
        since = self.times - self.times[0]
        return CALLS_PER_PAIR * float(self.judged[(since >= began_s) & (since < ended_s)].sum())

    def most_in_an_hour(self) -> float:
        """The most calls in any 60 minutes."""
        spent = self.times[self.judged]
        within = np.arange(len(spent)) - np.searchsorted(spent, spent - _HOUR_S, side="right") + 1
        return CALLS_PER_PAIR * float(within.max(initial=0))


def spend(times: Array, seed: int, predicted: bool = True, limit: float = LIMIT, audit: float = 0.03) -> Spending:
    """Decide about a pair at each time; where nothing is `predicted`, by competencies alone."""
    bits = np.random.default_rng([seed, 11]).random(len(times))
    budget = Budget(calls_per_hour=limit, calls_per_pair=CALLS_PER_PAIR, audit_share=audit)
    state, judged, probability = BudgetState(), [], []
    for number, (now, known) in enumerate(zip(times.tolist(), bits.tolist(), strict=True)):
        rng = random.Random(f"{seed} {number}")
        if predicted:
            (decision,), state = decide(np.array([0]), np.array([known]), budget, state, math.inf, rng, now)
        else:
            (decision,), state = judge_all([known], budget, state, rng, now)
        judged.append(decision.judged)
        probability.append(decision.probability)
    return Spending(times, np.array(judged), np.array(probability))


def steady(pairs_per_hour: float, hours: float) -> Array:
    """Evenly spaced times."""
    return _BEGAN + np.arange(0.0, hours * _HOUR_S, _HOUR_S / pairs_per_hour)


def burst(pairs: int, seconds: float) -> Array:
    """Times after idle time."""
    return _BEGAN + np.linspace(0.0, seconds, pairs, endpoint=False)


def across_clock_hours() -> Array:
    """A pair, then 2,000 in the last five minutes of its hour and 2,000 in the first five of the next."""
    return np.concatenate([[_BEGAN], burst(2000, 300.0) + 3300.0, burst(2000, 300.0) + 3610.0])


def hourly_limit() -> list[Finding]:
    """Calls in the busiest 60 minutes, calls that were used, and pairs that could not be judged at all."""
    streams = {
        "steady, 100,000 pairs/h": steady(100_000, 2),
        "steady, 5,000 pairs/h": steady(5_000, 3),
        "steady, 600 pairs/h": steady(600, 6),
        "10,000 pairs in 10 s": burst(10_000, 10.0),
        "10,000 pairs in 10 min": burst(10_000, 600.0),
        "300 pairs in 10 s": burst(300, 10.0),
        "2,000 pairs at the end of an hour and 2,000 after": across_clock_hours(),
    }
    found = []
    for name, times in streams.items():
        for predicted in (True, False):
            runs = [spend(times, seed, predicted) for seed in range(2 if len(times) > 50_000 else 8)]
            found += _findings(name if predicted else f"{name}, no model", times, runs)
    return found


def _findings(name: str, times: Array, runs: list[Spending]) -> list[Finding]:
    hours = max(1, round(float(times[-1] - times[0]) / _HOUR_S))
    offered = min(LIMIT, CALLS_PER_PAIR * len(times) / hours)
    used = [np.mean([run.calls(_HOUR_S * hour, _HOUR_S * (hour + 1)) for hour in range(hours)]) for run in runs]
    refused = [float(np.mean(run.probability == 0.0)) for run in runs]
    most = [run.most_in_an_hour() for run in runs]
    return [
        Finding("hourly-limit", f"{name}: most in 60 min", max(most), LIMIT, 0.0),
        _mean(f"{name}: calls an hour", used, offered),
        _mean(f"{name}: pairs that could not be judged", refused, 0.0),
    ]


def _mean(what: str, figures: list[float], true: float) -> Finding:
    return Finding("hourly-limit", what, float(np.mean(figures)), true, float(np.std(figures) / np.sqrt(len(figures))))
