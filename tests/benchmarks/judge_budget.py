"""Labels wrong when only a share of the judge calls is spent, on recorded answers and verdicts of real models.

`KARMA_BENCH_DATA=DIR python -m tests.benchmarks.judge_budget [--fit DIR --evaluate DIR] [--json OUT]`

Competencies and the outcome model are learned from 120 fit prompts, 60 random pairs each. Then every evaluation prompt
comes once, in random order, with 60 uniform random pairs of its answers; the product's gate decides which of them are
judged, learns from what it buys as it goes, and labels the others: a stream of the goal `label` with a `judge_share`.
Printed against random spending.

Label error: decisive pairs whose label contradicts their verdict, as a share of decisive pairs. Share: pairs bought
over all pairs of the evaluation.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from karma.policies.candidates import Candidate
from karma.ranking.label_error import Audited, LabelError, label_error
from karma.ranking.outcome_model import FEATURES, OutcomeModel
from karma.ranking.snapshot import Snapshot
from karma.ranking.verdict_weights import PromptPair, prompt_weight
from karma.seeds import seed_of
from karma.store.judge_budgets import BudgetedPair
from karma.store.records import Count, Example
from karma_matching.budget.allocation import Budget, BudgetState
from karma_matching.budget.decisions import JudgeBudget
from karma_matching.budget.relative_features import relative_features, word_similarity, words_of
from karma_matching.pairing import FormedPair
from karma_scoring.features import features
from karma_scoring.fit.competency import Prior
from karma_scoring.fit.evidence import evidence
from karma_scoring.fit.kinship import snapshot
from karma_scoring.fit.predictions.judge_budget import EXAMPLES, examples_of
from karma_scoring.fit.predictions.outcome_fit import fit_outcome
from karma_scoring.fit.prior_scale import fit_with_learned_scale
from karma_scoring.predicted_labels import predict_labels
from tests.support.alpaca import Recording, add_folders, recordings

Array = NDArray[np.float64]

FIT_PROMPTS, PAIRS = 120, 60
SHARES = (0.2, 0.35, 0.5, 0.6, 0.8)
_GROWTH = 0.05  # of the judged pairs, between refits


@dataclass
class Learner:
    """What the product's refit does with the store, done with lists: counts and examples in, a snapshot out."""

    models: tuple[str, ...]
    counts: dict[tuple[str, str, str], list[float]] = field(default_factory=lambda: defaultdict(lambda: [0.0] * 4))
    examples: list[Example] = field(default_factory=list)
    fitted_at: int = 0
    competencies: Snapshot = field(default_factory=Snapshot.empty)
    outcome: OutcomeModel | None = None

    def add(
        self,
        skill: str,
        a: int,
        b: int,
        difference: Sequence[float],
        prompt: int,
        verdict: int,
        counted: tuple[float, float],
    ) -> None:
        """One judged pair, and its weight with the square of it."""
        weight, square = counted
        first, second, won = (a, b, verdict) if a < b else (b, a, -verdict)
        cell = self.counts[skill, self.models[first], self.models[second]]
        cell[0 if won > 0 else 1 if won < 0 else 2] += weight
        cell[3] += square
        names = (self.models[a], self.models[b])
        answers = (prompt * 1000 + a, prompt * 1000 + b)
        outcome, chosen = ("tie", None) if verdict == 0 else ("decisive", answers[0 if verdict > 0 else 1])
        reasons = json.dumps({"contrast": list(difference)})
        self.examples.append(Example(prompt, skill, *answers, *names, reasons, outcome, chosen))

    def refit(self) -> None:
        """Fit again, if enough has come."""
        if len(self.examples) < self.fitted_at * (1 + _GROWTH) + 1:
            return
        self.fitted_at = len(self.examples)
        rows = [Count("judge", *key, 0, *cell) for key, cell in sorted(self.counts.items())]
        seen = evidence(rows, self.models, 0.0, 1.0)
        self.competencies = snapshot(fit_with_learned_scale(seen.counts, seen.models, seen.skills, Prior()), 1)
        self.outcome = fit_outcome(examples_of(self.examples[: -EXAMPLES - 1 : -1], self.competencies, {}))


@dataclass(frozen=True, eq=False)
class Run:
    """What came of one pass over the evaluation prompts. One row a pair."""

    share: float
    prompt: NDArray[np.int64]
    verdict: NDArray[np.int64]
    label: NDArray[np.int64]
    judged: NDArray[np.bool_]
    first_longer: NDArray[np.int64]
    audit: LabelError | None
    unjudged_error: float
    calibration_error: float

    def wrong(self) -> NDArray[np.bool_]:
        """Decisive pairs whose label contradicts their verdict."""
        return (self.verdict != 0) & (self.label != self.verdict)

    def error(self) -> float:
        """Label error, of decisive pairs."""
        return float(self.wrong().sum() / (self.verdict != 0).sum())

    def interval(self, rng: np.random.Generator, rounds: int = 1000) -> tuple[float, float]:
        """95 % interval of the error, by the bootstrap over prompts."""
        numbers = np.unique(self.prompt, return_inverse=True)[1]
        wrong = np.bincount(numbers, weights=self.wrong())
        decisive = np.bincount(numbers, weights=self.verdict != 0)
        drawn = rng.integers(len(wrong), size=(rounds, len(wrong)))
        errors = wrong[drawn].sum(axis=1) / decisive[drawn].sum(axis=1)
        low, high = np.quantile(errors, [0.025, 0.975])
        return float(low), float(high)

    def longer_wins(self, labels: NDArray[np.int64]) -> float:
        """How often the longer answer wins among decisive labels."""
        counted = (labels != 0) & (self.first_longer != 0)
        return float((labels[counted] == self.first_longer[counted]).mean())


def candidates_of(recording: Recording, prompt: int) -> list[Candidate]:
    """A prompt's answers as matching reads them from the store."""
    outputs = recording.data.outputs[prompt]
    return [
        Candidate(place, model, 0, text, None, features(text))
        for place, (model, text) in enumerate(zip(recording.data.models, outputs, strict=True))
    ]


def random_pairs(models: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`PAIRS` different pairs of models, each in a random order, [PAIRS, 2]."""
    everything = np.array([(a, b) for a in range(models) for b in range(a + 1, models)])
    drawn = everything[rng.choice(len(everything), min(PAIRS, len(everything)), replace=False)]
    swapped = rng.random(len(drawn)) < 0.5
    drawn[swapped] = drawn[swapped][:, ::-1]
    return drawn


def learn(recording: Recording, rng: np.random.Generator) -> Learner:
    """Competencies and the outcome model from the fit prompts."""
    learner = Learner(recording.data.models)
    for prompt, asked in enumerate(recording.data.prompts):
        candidates = candidates_of(recording, prompt)
        words = [words_of(candidate.text) for candidate in candidates]
        measured = relative_features(candidates, words, asked.text, word_similarity(words))
        drawn = random_pairs(len(recording.data.models), rng).tolist()
        counted = prompt_weight([PromptPair(prompt, a, b, 1) for a, b in drawn]).of(1.0)
        for a, b in drawn:
            verdict = int(recording.judge.verdicts([prompt], [a], [b])[0])
            learner.add(asked.skill, a, b, (measured[a] - measured[b]).tolist(), -1 - prompt, verdict, counted)
    learner.refit()
    return learner


def spend(fit_part: Recording, evaluation: Recording, share: float, seed: int, how: str) -> Run:
    """One pass: `gate` decides by information, `random` at random (labels by the same models, learned as it goes)."""
    rng = np.random.default_rng(seed)
    learner = learn(fit_part, rng)
    state, budget = BudgetState(), Budget(judge_share=share)
    rows: list[tuple[int, int, int, bool, int]] = []
    audited: list[Audited] = []
    foretold: list[tuple[float, bool]] = []
    models = evaluation.data.models
    for prompt in rng.permutation(len(evaluation.data.prompts)).tolist():
        asked = evaluation.data.prompts[prompt]
        answers = candidates_of(evaluation, prompt)
        drawn = random_pairs(len(models), rng)
        first, second = drawn[:, 0], drawn[:, 1]
        allocated = JudgeBudget("", budget, state, replace(learner.competencies, outcome=learner.outcome))
        formed = [FormedPair(int(a), int(b), {}) for a, b in drawn]
        decided = allocated.decide(
            answers, formed, asked.text, asked.skill, seed_of("", f"{seed} {asked.id}", "gate"), 0.0
        )
        state = allocated.state
        bought = np.array([decision.judged for decision, _ in decided])
        chances = np.array([decision.probability for decision, _ in decided])
        if how == "random":
            bought, chances = rng.random(len(drawn)) < share, np.full(len(drawn), share)
        verdict = evaluation.judge.verdicts(np.full(int(bought.sum()), prompt), first[bought], second[bought])
        told = dict(zip(np.flatnonzero(bought).tolist(), verdict.tolist(), strict=True))
        pairs = []
        for n, (a, b) in enumerate(drawn.tolist()):
            outcome = None if n not in told else "tie" if told[n] == 0 else "decisive"
            chosen = None if outcome != "decisive" else a if told[n] > 0 else b
            chance, predicted = float(chances[n]), decided[n][1].win
            pairs.append(BudgetedPair(n, prompt, a, b, int(n in told), chance, predicted, outcome, chosen))
        labels = {pair.id: probability for pair, probability in predict_labels(pairs, learner.outcome)}
        truth = evaluation.judge.verdicts(np.full(len(drawn), prompt), first, second)  # for the report, not the product
        weights = prompt_weight([PromptPair(prompt, a, b, int(n in told)) for n, (a, b) in enumerate(drawn.tolist())])
        for n in range(len(drawn)):
            length = len(answers[first[n]].text) - len(answers[second[n]].text)
            label = told[n] if n in told else 1 if labels[n] > 0.5 else -1
            rows.append((prompt, int(truth[n]), label, n in told, int(np.sign(length))))
            if n in told:
                pair = int(first[n]), int(second[n])
                counted = weights.of(float(chances[n]))
                learner.add(asked.skill, *pair, decided[n][1].relative_features, prompt, told[n], counted)
                if chances[n] < 1.0 and told[n] != 0:
                    audited.append(Audited(float(chances[n]), (labels[n] > 0.5) != (told[n] > 0), prompt))
                    foretold.append((labels[n], told[n] > 0))
        learner.refit()
    numbers, truths, given, judged, longer = (np.array(column) for column in zip(*rows, strict=True))
    hidden = ~judged & (truths != 0)
    return Run(
        share=float(judged.mean()),
        prompt=numbers,
        verdict=truths,
        label=given,
        judged=judged,
        first_longer=longer,
        audit=label_error(audited, int(hidden.sum())),
        unjudged_error=float((given[hidden] != truths[hidden]).mean()) if hidden.any() else 0.0,
        calibration_error=learner.outcome.calibration_error if learner.outcome else float("nan"),
    )


def competencies_only(fit_part: Recording, evaluation: Recording, share: float, seed: int) -> float:
    """Random spending with labels by the competencies of the fit prompts alone: the plain alternative."""
    rng = np.random.default_rng(seed)
    learner = learn(fit_part, rng)
    wrong = decisive = 0
    for prompt, asked in enumerate(evaluation.data.prompts):
        drawn = random_pairs(len(evaluation.data.models), rng)
        truth = evaluation.judge.verdicts(np.full(len(drawn), prompt), drawn[:, 0], drawn[:, 1])
        bought = rng.random(len(drawn)) < share
        for (a, b), verdict, judged in zip(drawn.tolist(), truth.tolist(), bought.tolist(), strict=True):
            if verdict == 0:
                continue
            decisive += 1
            gap = learner.competencies.between(learner.models[a], learner.models[b], asked.skill).gap
            wrong += not judged and (gap > 0) != (verdict > 0)
    return wrong / decisive


def measure(fit_part: Recording, evaluation: Recording, shares: Sequence[float], seed: int) -> list[dict[str, Any]]:
    """One row of figures a share."""
    found = []
    for share in shares:
        gate = spend(fit_part, evaluation, share, seed, "gate")
        chance = spend(fit_part, evaluation, share, seed, "random")
        low, high = gate.interval(np.random.default_rng(seed))
        chance_low, chance_high = chance.interval(np.random.default_rng(seed))
        audit = gate.audit
        found.append(
            {
                "share": gate.share,
                "error": gate.error(),
                "interval": [low, high],
                "random_share": chance.share,
                "random_error": chance.error(),
                "random_interval": [chance_low, chance_high],
                "random_competencies_only_error": competencies_only(fit_part, evaluation, share, seed),
                "longer_wins": gate.longer_wins(gate.label),
                "longer_wins_judged_in_full": gate.longer_wins(gate.verdict),
                "unjudged_error": gate.unjudged_error,
                "audited_error": audit and [audit.estimate, audit.low, audit.high, audit.audited],
                "calibration_error": gate.calibration_error,
            }
        )
        print_row(found[-1])
    return found


def print_row(row: dict[str, Any]) -> None:
    """One line of the table."""
    audit = row["audited_error"]
    said = f"{100 * audit[0]:.1f} [{100 * audit[1]:.1f}, {100 * audit[2]:.1f}] of {audit[3]}" if audit else "-"
    low, high = row["interval"]
    print(
        f"{100 * row['share']:6.1f} | {100 * row['error']:5.2f} [{100 * low:.2f}, {100 * high:.2f}] | "
        f"{100 * row['random_error']:6.2f} | {100 * row['random_competencies_only_error']:6.2f} | "
        f"{100 * row['longer_wins']:5.1f} / {100 * row['longer_wins_judged_in_full']:5.1f} | "
        f"{100 * row['unjudged_error']:5.2f} | {said} | {row['calibration_error']:.3f}",
        flush=True,
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_folders(parser)
    parser.add_argument("--shares", type=float, nargs="+", default=list(SHARES), metavar="SHARE")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="SEED")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    fit_part, evaluation = recordings(arguments, FIT_PROMPTS)
    print(f"{len(fit_part.data.prompts)} fit prompts, {len(evaluation.data.prompts)} evaluation prompts, {PAIRS} pairs")
    print(f"{len(FEATURES)} features; label errors in % of decisive pairs, 95 % intervals over prompts")
    print("judged | error by the gate | random | random, competencies only | longer wins / in full | unjudged | audit")
    found = {}
    for seed in arguments.seeds:
        print(f"seed {seed}")
        found[str(seed)] = measure(fit_part, evaluation, arguments.shares, seed)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
