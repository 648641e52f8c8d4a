"""Verdicts that take no side at rates of their own: cases of `hard_cases`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

import numpy as np

from karma.ranking.davidson import tie_probability, win_given_decisive
from karma.ranking.verdict_sources import JUDGE, ORDERS, PROBE
from karma.store.records import Count
from karma_scoring.fit.changes.drift import fit_with_drift
from karma_scoring.fit.competency import Posterior, Prior
from karma_scoring.fit.evidence import evidence
from karma_scoring.fit.kinship import snapshot
from tests.benchmarks.finding import Finding
from tests.benchmarks.hard_pools import Z90, Array, fit_rows

_NAMES = [f"m{number}" for number in range(8)]
ROWS = ("overall", "a verifier's skill", "judge's skill")  # in the order of a posterior's rows, whose skills are sorted


@dataclass(frozen=True)
class Judging:
    """How verdicts of a source come about: P(a wins) and P(no side), by the gap in logits."""

    source: str
    skill: str
    probabilities: Callable[[Array], tuple[Array, Array]]

    def counts(self, theta: Array, verdicts: int, rng: np.random.Generator) -> list[Count]:
        """Verdicts on random pairs of models."""
        first, second = np.triu_indices(len(theta), 1)
        number = rng.multinomial(verdicts, np.full(len(first), 1 / len(first)))
        won, no_side = self.probabilities(theta[first] - theta[second])
        outcomes = rng.multinomial(number, np.column_stack([won, np.maximum(1 - won - no_side, 0.0), no_side]))
        return [
            Count(self.source, self.skill, _NAMES[a], _NAMES[b], 0, *map(float, row), float(sum(row)))
            for a, b, row in zip(first.tolist(), second.tolist(), outcomes.tolist(), strict=True)
            if sum(row)
        ]


def davidson(tie: float) -> Callable[[Array], tuple[Array, Array]]:
    """Verdicts by Davidson's model."""

    def probabilities(gap: Array) -> tuple[Array, Array]:
        tied = tie_probability(gap, tie)
        return (1.0 - tied) * win_given_decisive(gap), tied

    return probabilities


def independent_orders(bias: float) -> Callable[[Array], tuple[Array, Array]]:
    """A judge that names a side in each order by itself, with a bias for the first position, logits."""

    def probabilities(gap: Array) -> tuple[Array, Array]:
        first, second = win_given_decisive(gap + bias), win_given_decisive(gap - bias)
        return first * second, first + second - 2.0 * first * second

    return probabilities


def one_threshold(bias: float) -> Callable[[Array], tuple[Array, Array]]:
    """A judge whose both verdicts follow the same two responses, with a bias for the first position, logits."""

    def probabilities(gap: Array) -> tuple[Array, Array]:
        won, lost = win_given_decisive(gap - bias), win_given_decisive(-gap - bias)
        return won, 1.0 - won - lost

    return probabilities


def repeated_orders(gap: Array) -> tuple[Array, Array]:
    """A judge that names the same side in both orders: its second verdict repeats the first."""
    return win_given_decisive(gap), np.zeros(len(gap))


def figures(found: Posterior, theta: Array, row: int) -> tuple[float, float]:
    """The share of gaps in their 90 % interval, and the gap said per logit of true gap."""
    first, second = np.triu_indices(len(theta), 1)
    covariance, mean = found.covariance[row], found.mean[row]
    variance = covariance[first, first] + covariance[second, second] - 2.0 * covariance[first, second]
    said, true = mean[first] - mean[second], theta[first] - theta[second]
    held = np.abs(said - true) < Z90 * np.sqrt(variance)
    return float(held.mean()), float(said @ true / (true @ true))


def tie_rates(verdicts: int, repetitions: int, *, labeled: bool, apart: bool = True) -> Array:
    """Coverage and slope of the gaps of each row, mean and standard error, [2, R, 2].

    A verifier ties in 60 % of equal pairs and a judge in 2 %, on prompts of a skill each (`labeled`) or of none.
    """
    rng, rows = np.random.default_rng(6), []
    for _ in range(repetitions):
        theta = rng.normal(0, 1.2, 6)
        judgings = [
            Judging(PROBE if apart else JUDGE, ROWS[1] if labeled else "", davidson(3.0)),
            Judging(JUDGE, ROWS[2] if labeled else "", davidson(0.04)),
        ]
        counts = chain.from_iterable(each.counts(theta, verdicts // 2, rng) for each in judgings)
        posterior = fit_rows(list(counts), _NAMES[:6], Prior())
        rows.append([figures(posterior, theta, row) for row in range(len(posterior.mean))])
    table = np.array(rows)
    return np.stack([table.mean(axis=0), table.std(axis=0) / np.sqrt(repetitions)])


def falsely_changed(streams: int, *, apart: bool = True) -> int:
    """How many of the six models of each stream are said to have changed where a verifier takes over from a judge."""
    changed = 0
    for stream in range(streams):
        rng = np.random.default_rng(stream)
        theta, rows = rng.normal(0, 1.2, 6), []
        for hour in range(10):
            verifier = Judging(PROBE if apart else JUDGE, "", davidson(3.0))
            judging = verifier if hour >= 5 else Judging(JUDGE, "", davidson(0.04))
            rows += [count._replace(bucket=1_800 * hour) for count in judging.counts(theta, 600, rng)]
        seen = evidence(rows, _NAMES[:6], 36_000.0, 720.0)
        changed += len({change.model for change in fit_with_drift(seen, {}, {}).changes})
    return changed


def orders(
    probabilities: Callable[[Array], tuple[Array, Array]], repetitions: int, *, dropped: bool = False
) -> tuple[Array, Array]:
    """Of eight models and 4,000 pairs judged in both orders, mean and standard error, [2, 7].

    The columns: coverage, slope, mean information of near pairs as said and as it is, greatest error of P(decisive) of
    near pairs, of far pairs, and mean P(decisive) of near pairs as it is.
    """
    rng, theta, rows = np.random.default_rng(12), np.linspace(-2, 2, 8), []
    first, second = np.triu_indices(8, 1)
    gap = theta[first] - theta[second]
    won, no_side = probabilities(gap)
    share = won / (1.0 - no_side)
    entropy = -(share * np.log2(share) + (1.0 - share) * np.log2(1.0 - share))
    near, far = np.abs(gap) < 0.7, np.abs(gap) > 2.0
    for _ in range(repetitions):
        counts = Judging(JUDGE if dropped else ORDERS, "", probabilities).counts(theta, 4_000, rng)
        if dropped:
            counts = [each._replace(ties=0.0, squares=each.wins_a + each.wins_b) for each in counts]
        found = fit_rows(counts, _NAMES, Prior())
        known = snapshot(found, 1)
        said = known.decisive(found.mean[0, first] - found.mean[0, second], None)
        error = np.abs(said - (1.0 - no_side))
        bits = known.information[0][first, second][near].mean(), (entropy * (1.0 - no_side))[near].mean()
        rows.append(
            [*figures(found, theta, 0), *bits, error[near].max(), error[far].max(), (1.0 - no_side)[near].mean()]
        )
    table = np.array(rows)
    return table.mean(axis=0), table.std(axis=0) / np.sqrt(repetitions)


def different_tie_rates() -> list[Finding]:
    """A verifier and a judge that tie at different rates."""
    found = []
    for labeled in (True, False):
        for verdicts in (600, 3_000, 12_000):
            mean, error = tie_rates(verdicts, 60, labeled=labeled)
            for row, name in enumerate(ROWS[: len(mean)] if labeled else ["no skill"]):
                what = f"{verdicts} verdicts, {name}"
                found.append(Finding("tie-rates", f"{what}: 90 % intervals", mean[row, 0], 0.9, error[row, 0]))
                found.append(Finding("tie-rates", f"{what}: gap per logit", mean[row, 1], 1.0, error[row, 1]))
    changed = falsely_changed(20)
    return [*found, Finding("tie-rates", "of 120 models, falsely changed", changed, 0.0, changed**0.5)]


def both_orders() -> list[Finding]:
    """A judge that names a side, asked in both orders; contradictions take no side."""
    found = []
    cases = {f"position bias {bias:g}": independent_orders(bias) for bias in (0.0, 1.0, 1.5, 2.0)}
    cases |= {f"one threshold, position bias {bias:g}": one_threshold(bias) for bias in (0.5, 1.0, 2.0)}
    for name, probabilities in {**cases, "second verdict repeats the first": repeated_orders}.items():
        mean, error = orders(probabilities, 20)
        found += [
            Finding("both-orders", f"{name}: gap per logit", mean[1], 1.0, error[1]),
            Finding("both-orders", f"{name}: bits of near pairs", mean[2], mean[3], error[2]),
            Finding("both-orders", f"{name}: P(decisive) off, near pairs", mean[4], 0.0, error[4]),
            Finding("both-orders", f"{name}: P(decisive) off, far pairs", mean[5], 0.0, error[5]),
        ]
    return found
