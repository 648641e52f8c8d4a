"""Ranking simulated models from nothing, by the product's plan under default settings: a case of `hard_cases`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from karma.policies.exploration import explored_share
from karma.ranking.davidson import tie_probability, win_given_decisive
from karma.ranking.snapshot import Snapshot
from karma_gateway.planning import PlannedPrompt, plan
from karma_scoring.fit.competency import Counts, Posterior, Prior, fit
from karma_scoring.fit.kinship import snapshot
from tests.benchmarks.finding import Finding

Indices = NDArray[np.int64]

_TIE = 0.3  # Davidson's ν of the simulated judge
_SPREAD = 1.3  # standard deviation of the models, logits
_BATCH = 25  # prompts planned together, whose verdicts then come back
MARK = 0.95  # of Spearman's correlation
DEFAULT = 0.1  # explore_share


@dataclass(frozen=True, eq=False)
class Course:
    """A stream after each batch, [batches]: comparisons, agreement with the truth, and the share that explores."""

    comparisons: Indices
    agreement: NDArray[np.float64]
    explored: NDArray[np.float64]
    decisive: float  # of all verdicts

    @property
    def needed(self) -> int:
        """Comparisons until the agreement first reaches the mark."""
        reached = self.agreement >= MARK
        return int(self.comparisons[reached.argmax()]) if reached.any() else int(self.comparisons[-1])


def course(
    models: int, seed: int, share: float = DEFAULT, policy: str = "informative", at_least: int = 0, most: int = 6000
) -> Course:
    """One stream, until the mark is reached and `at_least` comparisons are made.

    `policy` may be "swiss": neighbors in the present ranking meet.
    """
    rng = np.random.default_rng([seed, 5])
    theta, names = rng.normal(0, _SPREAD, models), [f"m{number:03d}" for number in range(models)]
    sides, verdicts = np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=np.int64)
    known: Posterior | None = None
    rows: list[tuple[int, float, float]] = []
    while len(verdicts) < most and not (len(verdicts) >= at_least and rows and max(row[1] for row in rows) >= MARK):
        current = Snapshot.empty(names) if known is None else snapshot(known, 1)
        variance = current.matrix("gap_deviation", names, None) ** 2
        explored = explored_share(share, variance, current.prior_gap_variance(None))
        new = _swiss(known, models, rng) if policy == "swiss" else _planned(current, names, policy, share, rng)
        gap = theta[new[:, 0]] - theta[new[:, 1]]
        tied, win, drawn = tie_probability(gap, _TIE), win_given_decisive(gap), rng.random(len(new))
        verdict = np.where(drawn < tied, 0, np.where(drawn < tied + (1 - tied) * win, 1, -1))
        sides, verdicts = np.concatenate([sides, new]), np.concatenate([verdicts, verdict])
        known = _learned(sides, verdicts, names, known)
        rows.append((len(verdicts), float(spearmanr(known.mean[0, :models], theta).statistic), explored))
    comparisons, agreement, explored_ = (np.array(column) for column in zip(*rows, strict=True))
    return Course(comparisons, agreement, explored_, float(np.mean(verdicts != 0)))


def _planned(current: Snapshot, names: list[str], policy: str, share: float, rng: np.random.Generator) -> Indices:
    prompts = [PlannedPrompt(int(rng.integers(1 << 62)), None) for _ in range(_BATCH)]
    index = {name: number for number, name in enumerate(names)}
    answers = plan(prompts, names, policy, 2, current, explore_share=share)
    return np.array([[index[first[0]], index[second[0]]] for first, second in answers])


def _swiss(known: Posterior | None, models: int, rng: np.random.Generator) -> Indices:
    mean = np.zeros(models) if known is None else known.mean[0, :models]
    order = np.argsort(-(mean + 1e-6 * rng.normal(size=models)))
    if rng.random() < 0.5:
        order = order[1:]
    return order[: len(order) // 2 * 2].reshape(-1, 2)


def _learned(sides: Indices, verdicts: Indices, names: list[str], start: Posterior | None) -> Posterior:
    won, lost, tied = ((verdicts == outcome).astype(np.float64) for outcome in (1, -1, 0))
    counts = Counts(np.full(len(verdicts), -1), sides[:, 0], sides[:, 1], won, lost, tied)
    return fit(counts, names, [], Prior(), start)


def cold_start() -> list[Finding]:
    """Comparisons until the ranking is right, and what exploring costs in a long stream."""
    ways = (("by default", "informative", DEFAULT), ("every prompt exploring", "informative", 1.0))
    ways += (("Swiss pairing", "swiss", DEFAULT), ("random", "random", DEFAULT))
    found = []
    for models, seeds in ((50, 40), (20, 40), (8, 40)):
        for name, policy, share in ways:
            needed = [float(course(models, seed, share, policy).needed) for seed in range(seeds)]
            at_most = 820.0 if models == 50 else 0.0
            found.append(_mean(f"{models} models, {name}: comparisons to {MARK:g}", needed, at_most))
    for models in (20, 50):
        long = [course(models, seed, at_least=5000, most=5000) for seed in range(4)]
        for comparisons in (1000, 2000, 5000):
            explored = [float(one.explored[comparisons // _BATCH - 1]) for one in long]
            found.append(_mean(f"{models} models, share exploring after {comparisons:,}", explored, DEFAULT))
        found.append(_mean(f"{models} models, decisive of 5,000", [one.decisive for one in long], 1.0))
    return found


def _mean(what: str, figures: list[float], true: float) -> Finding:
    return Finding("cold-start", what, float(np.mean(figures)), true, float(np.std(figures) / np.sqrt(len(figures))))
