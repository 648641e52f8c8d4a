"""Intervals of the agreement with people: how often each kind contains the truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import beta, binom

from karma_monitor.figures.intervals import wilson
from karma_monitor.figures.judges.people import Compared
from karma_monitor.figures.judges.people import agreement as agreement_of
from tests.benchmarks.finding import Finding

Interval = Callable[[int, int], tuple[float, float]]

ACCURACIES = (0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
_NUMBERS = (30, 100, 300)
_STEPS = 60
_ROUNDING = 1e-12
_GRID = 1_000  # of Blaker's interval
_MOST_FOR_BLAKER = 100  # trials; beyond, all intervals agree and this one takes minutes


def jeffreys(successes: int, trials: int) -> tuple[float, float]:
    """Equal-tailed, by the prior Beta(1/2, 1/2) (Brown, Cai & DasGupta 2001, Statistical Science 16, 101–133)."""
    low = 0.0 if successes == 0 else float(beta.ppf(0.025, successes + 0.5, trials - successes + 0.5))
    high = 1.0 if successes == trials else float(beta.ppf(0.975, successes + 0.5, trials - successes + 0.5))
    return low, high


def mid_p(successes: int, trials: int) -> tuple[float, float]:
    """Clopper & Pearson's (1934), with half of the observed count's probability in each tail (Lancaster 1961)."""

    def tail(p: float) -> float:
        return float(binom.cdf(successes, trials, p)) - 0.5 * float(binom.pmf(successes, trials, p))

    low = 0.0 if successes == 0 else _root(lambda p: tail(p) - 0.975)
    high = 1.0 if successes == trials else _root(lambda p: tail(p) - 0.025)
    return low, high


def _root(falling: Callable[[float], float]) -> float:
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if falling(middle) > 0.0 else (low, middle)
    return (low + high) / 2.0


def coverage(interval: Interval, trials: int, accuracies: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[float]:
    """P(the interval contains each accuracy): a sum over all counts, without a simulation's error."""
    counts = np.arange(trials + 1)
    low, high = np.array([interval(int(count), trials) for count in counts]).T
    return [float(binom.pmf(counts, trials, p)[(low <= p) & (p <= high)].sum()) for p in accuracies]


def blaker(successes: int, trials: int) -> tuple[float, float]:
    """The exact interval of the acceptability function (Blaker 2000, Canadian Journal of Statistics 28, 783–798)."""
    counts = np.arange(trials + 1)

    def accepted(p: float) -> bool:
        below, above = binom.cdf(counts, trials, p), binom.sf(counts - 1, trials, p)
        tail = min(below[successes], above[successes])
        other = above if below[successes] < above[successes] else below
        return bool(tail + max(other[other <= tail + _ROUNDING], default=0.0) > 0.05)

    shares = np.arange(1, _GRID) / _GRID
    inside = shares[[accepted(float(p)) for p in shares]]
    return float(inside[0]) - 0.5 / _GRID, float(inside[-1]) + 0.5 / _GRID


def attainable(trials: int, accuracies: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """The share of accuracies for which any interval of a count could cover in 93 to 97 %.

    An interval contains an accuracy for a run of counts. With few trials, no run has such a probability.
    """
    found = 0
    for p in accuracies:
        below = np.concatenate([[0.0], binom.cdf(np.arange(trials + 1), trials, p)])
        runs = below[None, :] - below[:, None]
        found += bool(np.any((runs >= 0.93) & (runs <= 0.97)))
    return found / len(accuracies)


def agreement(streams: int = 2_000) -> list[Finding]:
    """Coverage over accuracies from .6 to .95, exact; simulated as users have it; and with several pairs a prompt."""
    found = []
    fine = np.round(np.arange(0.6, 0.9501, 0.001), 3)
    for trials in _NUMBERS:
        kinds: dict[str, Interval] = {"Wilson": wilson, "Jeffreys": jeffreys, "mid-P": mid_p}
        if trials <= _MOST_FOR_BLAKER:
            kinds["Blaker"] = blaker
        for name, interval in kinds.items():
            covered = np.array(coverage(interval, trials, fine))
            what = f"{trials} pairs, {name}"
            found.append(Finding("agreement", f"{what}: mean coverage", float(covered.mean()), 0.95, 0.0))
            found.append(Finding("agreement", f"{what}: least", float(covered.min()), 0.93, 0.0))
            found.append(Finding("agreement", f"{what}: most", float(covered.max()), 0.97, 0.0))
            within = float(np.mean((covered >= 0.93) & (covered <= 0.97)))
            found.append(Finding("agreement", f"{what}: accuracies with .93 to .97", within, 1.0, 0.0))
        most = attainable(trials, fine)
        found.append(Finding("agreement", f"{trials} pairs, any interval: accuracies at most", most, 1.0, 0.0))
    for trials in _NUMBERS:
        found.append(_drawn(trials, streams))
    for trials in _NUMBERS[1:]:
        found += _clustered(trials, streams)
    return found


def _drawn(trials: int, streams: int) -> Finding:
    """Coverage where the accuracy is drawn, each skill has its own, and prompts have one to four pairs.

    Of a prompt, the judge's errors go together: on a third of the prompts it is right on all pairs or on none.
    """
    rng = np.random.default_rng(1)
    inside = []
    for _ in range(streams):
        skills = np.clip(rng.uniform(0.6, 0.95) + rng.uniform(-0.05, 0.05, 3), 0.5, 1.0)
        prompt = np.repeat(np.arange(trials), rng.integers(1, 5, trials))[:trials]
        skill = rng.integers(3, size=trials)[prompt]
        shared = (rng.random(trials) < 1.0 / 3.0)[prompt]
        chance = np.where(shared, rng.random(trials)[prompt], rng.random(trials))
        right = (chance < skills[skill]).tolist()
        given = [Compared(int(one), str(of), 0.9, bool(is_right)) for one, of, is_right in zip(prompt, skill, right)]  # noqa: B905
        said = agreement_of(given)
        inside.append(said["low"] <= float(skills.mean()) <= said["high"])
    error = (0.95 * 0.05 / streams) ** 0.5
    what = f"{trials} pairs, accuracies drawn, one to four a prompt"
    return Finding("agreement", what, float(np.mean(inside)), 0.95, error)


def _clustered(trials: int, streams: int, of_prompt: int = 4, accuracy: float = 0.8) -> list[Finding]:
    """Prompts of four pairs, on half of which the judge is right or wrong in all four."""
    rng = np.random.default_rng(0)
    inside, plain = [], []
    for _ in range(streams):
        alike = np.repeat(rng.random(trials // of_prompt) < 0.5, of_prompt)
        shared = np.repeat(rng.random(trials // of_prompt) < accuracy, of_prompt)
        right = np.where(alike, shared, rng.random(len(alike)) < accuracy)
        given = [Compared(n // of_prompt, "", 0.9, bool(is_right)) for n, is_right in enumerate(right.tolist())]
        said = agreement_of(given)
        inside.append(said["low"] <= accuracy <= said["high"])
        low, high = wilson(float(right.sum()), len(given))
        plain.append(low <= accuracy <= high)
    error = (0.95 * 0.05 / streams) ** 0.5
    name = f"{trials} pairs, four a prompt"
    return [
        Finding("agreement", f"{name}: with the design effect", float(np.mean(inside)), 0.95, error),
        Finding("agreement", f"{name}: without", float(np.mean(plain)), 0.95, error),
    ]
