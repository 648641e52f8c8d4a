"""Pools that spread more or less than the prior assumes, and a model far ahead of the rest: cases of `hard_cases`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from karma.ranking.davidson import tie_probability, win_given_decisive
from karma_scoring.fit.competency import Counts, Prior
from karma_scoring.fit.prior_scale import fit_with_learned_scale
from tests.benchmarks.finding import Finding

Array = NDArray[np.float64]

_Z90 = 1.644854
_FAR = 5.0  # logits


@dataclass(frozen=True)
class WidePool:
    """How the competencies of a pool are drawn and compared: random pairs, one skill."""

    name: str
    models: int
    verdicts: int
    draw: Callable[[np.random.Generator], Array]
    tie: float = 0.5  # Davidson's ν
    #: Only the gaps of the first model count.
    first_only: bool = False

    def counts(self, theta: Array, rng: np.random.Generator) -> Counts:
        """Verdicts by Davidson's model."""
        first = rng.integers(self.models, size=self.verdicts)
        second = (first + rng.integers(1, self.models, size=self.verdicts)) % self.models
        gap = theta[first] - theta[second]
        tied, drawn = tie_probability(gap, self.tie), rng.random(self.verdicts)
        won = (drawn >= tied) & (drawn < tied + (1 - tied) * win_given_decisive(gap))
        outcomes = won, (drawn >= tied) & ~won, drawn < tied
        return Counts(np.full(self.verdicts, -1), first, second, *(each.astype(np.float64) for each in outcomes))


def normal(deviation: float, models: int) -> Callable[[np.random.Generator], Array]:
    """Competencies from a Gaussian with this deviation, logits."""
    return lambda rng: rng.normal(0.0, deviation, models)


def one_ahead(rng: np.random.Generator) -> Array:
    """One model five logits ahead of seven that are nearly equal."""
    return np.append(_FAR, rng.normal(0.0, 0.5, 7))


def coverage(pool: WidePool, repetitions: int, seed: int = 1) -> tuple[float, float]:
    """The share of gaps in their 90 % interval, and its standard error."""
    rng, held = np.random.default_rng(seed), []
    first, second = np.triu_indices(pool.models, 1)
    if pool.first_only:
        first, second = first[: pool.models - 1], second[: pool.models - 1]
    names = [f"m{number:03d}" for number in range(pool.models)]
    for _ in range(repetitions):
        theta = pool.draw(rng)
        found = fit_with_learned_scale(pool.counts(theta, rng), names, [], Prior())
        mean, covariance = found.mean[0], found.covariance[0]
        variance = covariance[first, first] + covariance[second, second] - 2.0 * covariance[first, second]
        error = mean[first] - mean[second] - theta[first] + theta[second]
        held.append(np.mean(np.abs(error) < _Z90 * np.sqrt(np.maximum(variance, 0.0))))
    return float(np.mean(held)), float(np.std(held) / np.sqrt(repetitions))


WIDE = WidePool("8 models, deviation 3, 400 verdicts", 8, 400, normal(3.0, 8))
FAR = [
    WidePool(f"one of 8 models 5 ahead, its gaps, {number} verdicts", 8, number, one_ahead, 0.2, first_only=True)
    for number in (100, 400, 1600)
]
OTHERS = [
    WidePool("30 models, deviation 0.3, 300 verdicts", 30, 300, normal(0.3, 30)),
    WidePool("10 equal models, 1,000 verdicts", 10, 1000, normal(0.0, 10)),
    WidePool("2 models, deviation 1.4, 20 verdicts", 2, 20, normal(1.4, 2)),
    WidePool("6 models, deviation 1.4, 250 verdicts", 6, 250, normal(1.4, 6)),
    WidePool("100 models, deviation 1.4, 200 verdicts", 100, 200, normal(1.4, 100)),
]


def wide_pools() -> list[Finding]:
    """Coverage of the intervals of gaps where the assumed deviation, 1.4 logits, is not the pool's."""
    found = []
    for pool in (WIDE, *FAR, *OTHERS):
        covered, error = coverage(pool, 60 if pool.models > 10 else 300)
        found.append(Finding("wide-pools", pool.name, covered, 0.9, error))
    return found
