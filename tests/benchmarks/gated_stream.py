"""A simulated stream under a judge budget, one pair a prompt, with competencies, outcome model and audits as a refit
learns them. For `hard_cases`.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from karma.ranking.davidson import tie_probability, win_given_decisive
from karma.ranking.label_error import Audited, LabelError, label_error
from karma.ranking.label_limit import Calibrating, LabelLimit
from karma.ranking.outcome_model import FEATURES, UNPREDICTED, OutcomeModel
from karma.ranking.snapshot import Snapshot
from karma.ranking.tail import TailBin, label_tail
from karma.store.export_filter import LEAST_PREDICTED
from karma.store.records import Count, Example
from karma_matching.budget.allocation import Budget, BudgetState, Decision, decide, judge_all
from karma_matching.budget.decisions import ceiling
from karma_matching.budget.expected_information import expected_information
from karma_scoring.fit.changes.drift import fit_with_drift, last_changes, present, without_former
from karma_scoring.fit.competency import Posterior
from karma_scoring.fit.evidence import evidence
from karma_scoring.fit.kinship import snapshot
from karma_scoring.fit.predictions.judge_budget import AUDITED, EXAMPLES, examples_of, present_audits
from karma_scoring.fit.predictions.label_limits import CALIBRATING, present_limit
from karma_scoring.fit.predictions.outcome_fit import fit_outcome
from karma_scoring.fit.time_buckets import bucket_at, coarse
from tests.benchmarks.finding import Finding

_TIE = 0.3  # Davidson's ν of the simulated judge
_GROWTH, _OUTCOME_GROWTH = 0.02, 0.05  # as in the refit
_STARTED = 1.8e9  # seconds since 1970; a prompt comes each second
_REFIT_EVERY = 16  # prompts

#: (prompt, random numbers) → the two models of its pair.
Choose = Callable[[int, np.random.Generator], tuple[int, int]]


@dataclass(frozen=True, eq=False)
class Log:
    """What came of n prompts."""

    models: NDArray[np.int64]  # [n, 2]
    judged: NDArray[np.bool_]
    win: NDArray[np.float64]  # predicted P(the first is better | decisive)
    tie: NDArray[np.float64]  # predicted P(tie)
    verdict: NDArray[np.int64]  # of the judge, asked or not: 1, −1, or 0 for a tie

    def label_error(self, which: NDArray[np.bool_]) -> float:
        """The share of wrong predicted labels among those of `which` whose verdict would be decisive."""
        kept = which & ~self.judged & (self.verdict != 0)
        return float(np.mean((self.win[kept] > 0.5) != (self.verdict[kept] > 0)))


@dataclass(eq=False)
class GatedStream:
    """The state of the stream. `theta` may be changed between prompts: a model that becomes another."""

    theta: NDArray[np.float64]
    budget: Budget
    seed: int
    variance: float = 0.7  # of a response's quality around its model's
    lapses: float = 0.0  # share of verdicts on a random side
    reversing: float = 0.0  # share of prompts on which the gap is −½ of itself
    state: BudgetState = field(default_factory=BudgetState)
    competencies: Snapshot = field(default_factory=Snapshot.empty)
    outcome: OutcomeModel | None = None
    error: LabelError | None = None
    tail: tuple[TailBin, ...] = ()
    max_label_error: float | None = None
    limited: LabelLimit | None = None
    changed: list[tuple[int, str]] = field(default_factory=list)  # (prompt, model)

    def __post_init__(self) -> None:
        """An empty stream."""
        self.rng = np.random.default_rng([self.seed, 77])
        self.names = [f"m{number:03d}" for number in range(len(self.theta))]
        self._counts: dict[tuple[str, str, int], list[float]] = defaultdict(lambda: [0.0] * 4)
        self._examples: list[Example] = []
        self._audited: list[Audited] = []
        self._calibrating: list[Calibrating] = []
        self._fitted_at = self._outcome_at = 0.0
        self._posterior: Posterior | None = None

    def run(self, prompts: range, choose: Choose) -> Log:
        """Decide about the pair of each prompt, judge or predict, and learn."""
        rows = [self._step(prompt, *choose(prompt, self.rng)) for prompt in prompts]
        models, judged, win, tie, verdict = zip(*rows, strict=True)
        return Log(np.array(models), np.array(judged), np.array(win), np.array(tie), np.array(verdict))

    def _step(self, prompt: int, a: int, b: int) -> tuple[tuple[int, int], bool, float, float, int]:
        quality = self.theta[[a, b]] + self.rng.normal(0, np.sqrt(self.variance), 2)
        gap = np.array(quality[0] - quality[1])
        if self.reversing and self.rng.random() < self.reversing:
            gap *= -0.5
        tied = float(tie_probability(gap, _TIE))
        drawn, win = self.rng.random(), float(win_given_decisive(gap))
        verdict = 0 if drawn < tied else 1 if drawn < tied + (1 - tied) * win else -1
        if self.lapses and self.rng.random() < self.lapses:
            verdict = 1 if self.rng.random() < 0.5 else -1
        decision, predicted, tie = self._decide(prompt, a, b)
        if decision.judged:
            self._learn(prompt, a, b, verdict, decision, predicted)
        if prompt % _REFIT_EVERY == _REFIT_EVERY - 1 and len(self._examples) >= self._fitted_at * (1 + _GROWTH) + 1:
            self._refit(prompt)
        return (a, b), decision.judged, predicted, tie, verdict

    def _decide(self, prompt: int, a: int, b: int) -> tuple[Decision, float, float]:
        known, now = self.competencies.between(self.names[a], self.names[b], None), _STARTED + prompt
        rng = random.Random(f"gate {self.seed} {prompt}")
        if self.outcome is None:
            decisions, self.state = judge_all([known.information], self.budget, self.state, rng, now)
            return decisions[0], known.win_probability, self.competencies.tie / (2.0 + self.competencies.tie)
        features = np.zeros((1, len(FEATURES)))
        advantage = self.outcome.advantage(np.array([known.gap]), features, [self.names[a]], [self.names[b]])
        deviation = self.outcome.deviation(np.array([known.gap_deviation]))
        order, bits = expected_information(self.outcome, advantage, deviation, np.array([0]), np.array([1]))
        most = ceiling(self.limited, self.max_label_error)
        decisions, self.state = decide(order, bits, self.budget, self.state, most, rng, now)
        tie = float(tie_probability(advantage, self.outcome.tie)[0])
        return decisions[0], float(self.outcome.win(advantage)[0]), tie

    def _learn(self, prompt: int, a: int, b: int, verdict: int, decision: Decision, predicted: float) -> None:
        first, second = self.names[a], self.names[b]
        outcome, chosen = ("tie", None) if verdict == 0 else ("decisive", 2 * prompt + (verdict < 0))
        reasons = json.dumps({"contrast": [0.0] * len(FEATURES)})
        sides = (2 * prompt, 2 * prompt + 1, first, second)
        self._examples.append(Example(prompt, None, *sides, reasons, outcome, chosen, _STARTED + prompt))
        probability, wrong = decision.probability, (predicted > 0.5) != (verdict > 0)
        if probability < 1.0 and verdict != 0:
            self._audited.append(Audited(probability, wrong, prompt, predicted))
        if decision.why != UNPREDICTED and verdict != 0:
            self._calibrating.append(Calibrating(probability, wrong, prompt, decision.information))
        if first > second:
            first, second, verdict = second, first, -verdict
        cell = self._counts[first, second, bucket_at(_STARTED + prompt)]
        cell[0 if verdict > 0 else 1 if verdict < 0 else 2] += 1.0 / probability
        cell[3] += probability**-2.0

    def _refit(self, prompt: int) -> None:
        self._fitted_at = len(self._examples)
        now = _STARTED + prompt
        merged: dict[tuple[str, str, int], list[float]] = defaultdict(lambda: [0.0] * 4)
        for (first, second, bucket), cell in self._counts.items():
            into = merged[first, second, coarse(bucket, bucket_at(now))]
            into[:] = [one + other for one, other in zip(into, cell, strict=True)]
        rows = [Count("judge", "", *key, *cell) for key, cell in sorted(merged.items())]
        fitted = fit_with_drift(evidence(rows, self.names, now, 720.0), {}, {}, self._posterior)
        self._posterior = fitted.posterior
        self.competencies = snapshot(without_former(fitted.posterior), 1)
        for change in fitted.changes:
            self.changed.append((prompt, change.model))
            self._rename(change.model, change.former, change.bucket)
        if fitted.changes or len(self._examples) >= self._outcome_at * (1 + _OUTCOME_GROWTH):
            self._outcome_at = len(self._examples)
            newest = self._examples[: -EXAMPLES - 1 : -1]
            examples = examples_of(newest, self.competencies, last_changes(fitted.posterior.models))
            self.outcome = fit_outcome(examples) or self.outcome
        unjudged = self.state.seen - self.state.judged
        if self.max_label_error is not None:
            self.limited = present_limit(self._calibrating[: -CALIBRATING - 1 : -1], self.max_label_error)
        present, estimated = present_audits(self._audited[: -AUDITED - 1 : -1], unjudged)
        self.error, self.tail = label_error(present, estimated), label_tail(present, estimated)

    def _rename(self, model: str, former: str, before: int) -> None:
        """As `Preferences.rename_counts`; a former model's name sorts as the present one's."""
        counts, self._counts = self._counts, defaultdict(lambda: [0.0] * 4)
        for (first, second, bucket), cell in counts.items():
            names = [former if name == model and bucket < before else name for name in (first, second)]
            assert present(names[0]) < present(names[1])
            into = self._counts[names[0], names[1], bucket]
            into[:] = [one + other for one, other in zip(into, cell, strict=True)]


def swapped_errors(seed: int, prompts: int, windows: list[tuple[int, int]]) -> list[float]:
    """The error of a swapped model's predicted labels in windows of prompts since the swap, which is in the middle."""
    theta = np.random.default_rng(seed).normal(0, 1.2, 8)
    theta[0] = -2.2
    stream = GatedStream(theta, Budget(judge_share=0.3), seed)

    def choose(_prompt: int, rng: np.random.Generator) -> tuple[int, int]:
        first = 0 if rng.random() < 0.4 else int(rng.integers(8))
        return first, int((first + rng.integers(1, 8)) % 8)

    stream.run(range(prompts // 2), choose)
    theta[0] = 2.2
    log = stream.run(range(prompts // 2, prompts), choose)
    own, since = (log.models == 0).any(axis=1), np.arange(len(log.judged))
    return [log.label_error(own & (since >= first) & (since < end)) for first, end in windows]


def swapped() -> list[Finding]:
    """A model's checkpoint is swapped for a better one; the outcome model learned from both."""
    windows = [(0, 500), (500, 1000), (1000, 2000), (2000, 4000), (4000, 6000)]
    errors = np.array([swapped_errors(seed, 12_000, windows) for seed in range(10)])
    return [
        Finding(
            "swapped",
            f"label error of the model, prompts {first} to {end} since",
            float(errors[:, number].mean()),
            0.14,
            float(errors[:, number].std() / np.sqrt(len(errors))),
        )
        for number, (first, end) in enumerate(windows)
    ]


def coin_flips() -> list[Finding]:
    """Predicted labels that are exported: how many are hardly better than a coin flip, and how many are wrong."""
    shares: dict[str, list[float]] = {"without a bound": [], "by default": []}
    wrong: dict[str, list[float]] = {"without a bound": [], "by default": []}
    for seed in range(8):
        theta = np.random.default_rng(seed).normal(0, 1.2, 8)
        stream = GatedStream(theta, Budget(judge_share=0.3), seed, variance=2.0)
        log = stream.run(range(9_000), any_two)
        certainty = (1.0 - log.tie) * np.maximum(log.win, 1.0 - log.win)
        for what, bound in (("without a bound", 0.5), ("by default", LEAST_PREDICTED)):
            kept = ~log.judged & (certainty >= bound if bound > 0.5 else True)
            shares[what].append(float((certainty[kept] < LEAST_PREDICTED).mean()))
            wrong[what].append(log.label_error(kept))
    return [
        Finding("coin-flips", f"{what}, {name}", float(np.mean(each)), 0.0, float(np.std(each) / np.sqrt(len(each))))
        for name, figures in (("labels of P < .6", shares), ("error of the labels", wrong))
        for what, each in figures.items()
    ]


def any_two(_prompt: int, rng: np.random.Generator) -> tuple[int, int]:
    """Any two of eight models."""
    first = int(rng.integers(8))
    return first, int((first + rng.integers(1, 8)) % 8)


def new_model(share: float = 0.3) -> list[Finding]:
    """A strong model joins after 5,000 prompts: how much of it is judged, and the error of its predicted labels."""
    windows = [(0, 400), (400, 1_000), (1_000, 2_000), (2_000, 3_000)]
    figures = np.array([new_model_figures(seed, share, windows) for seed in range(10)])
    error = figures.std(axis=0) / np.sqrt(len(figures))
    return [
        Finding("new-model", what, float(mean), true, float(each))
        for what, mean, true, each in zip(
            (
                *(f"error, prompts {first} to {end} since" for first, end in windows),
                "error of its labels",
                "judged, first window",
                "error of all labels since",
                "judged of all since",
            ),
            figures.mean(axis=0),
            (*(0.16,) * 5, 1.0, 0.0, share),
            error,
            strict=True,
        )
    ]


def new_model_figures(seed: int, share: float, windows: list[tuple[int, int]]) -> list[float]:
    """Errors by window and of all, the share judged in the first window; then error and share of all models."""
    theta = np.random.default_rng(seed).normal(0, 1.2, 8)
    theta[7] = 2.0
    stream = GatedStream(theta, Budget(judge_share=share), seed)

    def without_it(_prompt: int, rng: np.random.Generator) -> tuple[int, int]:
        first = int(rng.integers(7))
        return first, int((first + rng.integers(1, 7)) % 7)

    stream.run(range(5_000), without_it)
    log = stream.run(range(5_000, 5_000 + windows[-1][1]), any_two)
    own, since = (log.models == 7).any(axis=1), np.arange(len(log.judged))
    first = own & (since < windows[0][1])
    return [
        *(log.label_error(own & (since >= begin) & (since < end)) for begin, end in windows),
        log.label_error(own),
        float(log.judged[first].mean()),
        log.label_error(np.ones(len(own), dtype=np.bool_)),
        float(log.judged.mean()),
    ]
