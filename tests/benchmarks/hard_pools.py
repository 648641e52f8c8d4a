"""Pools of models whose competencies are learned from counts: cases of `hard_cases`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from karma.ranking.davidson import tie_probability, win_given_decisive
from karma.ranking.snapshot import KIN_THRESHOLD
from karma.store.records import Count
from karma_scoring.fit.competency import Posterior, Prior
from karma_scoring.fit.evidence import evidence
from karma_scoring.fit.kinship import snapshot
from karma_scoring.fit.prior_scale import fit_with_learned_scale
from tests.benchmarks.finding import Finding

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

Z90 = 1.644854
TIE = 0.5  # Davidson's ν of simulated judges


def fit_rows(rows: list[Count], names: list[str], prior: Prior) -> Posterior:
    """The competencies by these counts."""
    seen = evidence(rows, names, 0.0, 720.0)
    return fit_with_learned_scale(seen.counts, seen.models, seen.skills, prior)


def overall_coverage(repetitions: int, audit: float = 0.03) -> tuple[float, float, float]:
    """Two skills with as many pairs, of which one is audited only: coverage of overall gaps, its error, rms error."""
    rng, models, pairs = np.random.default_rng(3), 6, 6_000
    names, held, squares = [f"m{number}" for number in range(models)], [], []
    sides = np.triu_indices(models, 1)
    for _ in range(repetitions):
        theta = rng.normal(0, 1.0, models) + rng.normal(0, 0.7, (2, models))
        rows = []
        for skill, probability in enumerate((audit, 1.0)):
            judged = rng.multinomial(round(pairs * probability), np.full(len(sides[0]), 1 / len(sides[0])))
            gap = theta[skill, sides[0]] - theta[skill, sides[1]]
            tied, win = tie_probability(gap, TIE), win_given_decisive(gap)
            outcomes = rng.multinomial(judged, np.column_stack([(1 - tied) * win, (1 - tied) * (1 - win), tied]))
            for a, b, numbers in zip(*(side.tolist() for side in sides), outcomes, strict=True):
                weighed = (numbers / probability).tolist()
                squared = float(numbers.sum()) / probability**2
                rows.append(Count("judge", "xy"[skill], names[a], names[b], 0, *weighed, squared))
        found, truth = fit_rows(rows, names, Prior()), theta.mean(axis=0)
        covariance, mean = found.covariance[0], found.mean[0]
        variance = covariance[sides[0], sides[0]] + covariance[sides[1], sides[1]] - 2.0 * covariance[sides]
        error = mean[sides[0]] - mean[sides[1]] - truth[sides[0]] + truth[sides[1]]
        held.append(np.mean(np.abs(error) < Z90 * np.sqrt(variance)))
        squares.append(np.mean(error**2))
    return float(np.mean(held)), float(np.std(held) / np.sqrt(repetitions)), float(np.sqrt(np.mean(squares)))


def overall() -> list[Finding]:
    """The competency over all skills where calls are spent on one of two skills."""
    covered, error, rms = overall_coverage(200)
    return [
        Finding("overall", "90 % intervals of overall gaps, one skill audited", covered, 0.9, error),
        Finding("overall", "root mean square error of overall gaps, logits", rms, 0.0, 0.0),
    ]


def disconnected_figures(size: int, offset: float, repetitions: int, bridges: int = 0) -> tuple[float, float, float]:
    """Two groups that are never compared, `offset` logits apart: coverage of gaps across, its error; called kin."""
    rng, models = np.random.default_rng(3), 2 * size
    names, held, kin = [f"m{number:03d}" for number in range(models)], [], []
    across = np.ix_(range(size), range(size, models))
    for _ in range(repetitions):
        theta = rng.normal(0, 0.7, models) + offset * (np.arange(models) < size)
        rows = []
        for start in (0, size):
            one = rng.integers(size, size=75 * size)
            other = (one + rng.integers(1, size, size=75 * size)) % size
            rows += _judged(theta, start + one, start + other, names, rng)
        if bridges:
            rows += _judged(theta, rng.integers(size, size=bridges), rng.integers(size, models, bridges), names, rng)
        found = fit_rows(rows, names, Prior())
        known = snapshot(found, 1)
        error = found.mean[0, :models, None] - found.mean[0, None, :models] - theta[:, None] + theta[None, :]
        held.append(np.mean((np.abs(error) < Z90 * known.gap_deviation[0, :models, :models])[across]))
        kin.append(np.mean(known.kinship[0, :models, :models][across] >= KIN_THRESHOLD))
    return float(np.mean(held)), float(np.std(held) / np.sqrt(repetitions)), float(np.mean(kin))


def _judged(theta: Array, first: Indices, second: Indices, names: list[str], rng: np.random.Generator) -> list[Count]:
    gap = theta[first] - theta[second]
    tied, win = tie_probability(gap, TIE), win_given_decisive(gap)
    drawn = rng.random(len(gap))
    return [
        Count("judge", "", names[a], names[b], 0, float(won), float(not won and not tie), float(tie), 1.0)
        for a, b, tie, won in zip(
            first.tolist(),
            second.tolist(),
            (drawn < tied).tolist(),
            ((drawn >= tied) & (drawn < tied + (1 - tied) * win)).tolist(),
            strict=True,
        )
    ]


def disconnected() -> list[Finding]:
    """Two groups of models, as of two streams, that no verdict connects."""
    found = []
    for size, offset, bridges in ((3, 2.0, 0), (8, 2.0, 0), (20, 2.0, 0), (8, 2.0, 20), (8, 2.0, 200), (8, 2.0, 400)):
        covered, error, kin = disconnected_figures(size, offset, 60, bridges)
        what = f"2 × {size} models {offset:g} apart, {bridges} verdicts across"
        found.append(Finding("disconnected", f"{what}: 90 % intervals", covered, 0.9, error))
        found.append(Finding("disconnected", f"{what}: called kin", kin, 0.0, 0.0))
    return found
