"""Streams on recorded answers for the reward model: planned, paired, judged or labeled, and learned from as they run.

A round sends every fit prompt once, in random order, and plans two models for it by the product's `plan`; rounds go on
until the judge calls are spent. Every stream starts cold and learns from its own verdicts alone. One with `label_at`
passes the product's gate: pairs that it is sure of become rows without a call, and pairs that are neither sure nor
judged become none.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from karma.config.goals import SETTINGS
from karma.config.settings import StreamSettings
from karma.policies.candidates import Candidate
from karma.policies.similarity import similarity
from karma.ranking.snapshot import Snapshot
from karma.seeds import seed_of
from karma.store.records import Example
from karma_gateway.planning import PlannedPrompt, plan
from karma_matching.budget.decisions import sure_rule
from karma_matching.budget.gap_pairs import gap_pairs
from karma_matching.budget.relative_features import relative_features
from karma_matching.budget.sure_labels import SureState, label_or_judge
from karma_scoring.fit.competency import Counts, Posterior, Prior
from karma_scoring.fit.kinship import snapshot
from karma_scoring.fit.predictions.judge_budget import examples_of
from karma_scoring.fit.predictions.outcome_fit import fit_outcome
from karma_scoring.fit.predictions.tie_fit import fit_ties, tie_examples_of
from karma_scoring.fit.prior_scale import fit_with_learned_scale
from tests.benchmarks.linear_reward import Pairs
from tests.support.alpaca import Recording

_PLANNED_AT_ONCE = 64  # prompts between two refits; the demo's setting
_GROWTH = 0.1  # of verdicts between two fits
_IDLE_ROUNDS = 20  # without a new pair, after which a stream ends

_LABELED: Mapping[str, Any] = SETTINGS["reward"]
#: Streams by name; `active_policies` must be registered.
STREAMS: Mapping[str, StreamSettings] = {
    "best-vs-worst/cold": StreamSettings(policy="best-vs-worst"),
    "deltaucb": StreamSettings(policy="deltaucb"),
    "drts": StreamSettings(policy="drts"),
    "infomax": StreamSettings(policy="infomax"),
    "train": StreamSettings(**SETTINGS["train"]),
    "reward": StreamSettings(**_LABELED),
    "best-vs-random/labels": StreamSettings(**{**_LABELED, "policy": "best-vs-random"}),
    "reward/all": StreamSettings(**{**_LABELED, "judge_share": 1.0}),
}


@dataclass(frozen=True)
class Described:
    """What the gate reads of the answers, per prompt."""

    features: Sequence[NDArray[np.float64]]  # [P] of [M, F]
    likeness: Sequence[NDArray[np.float64]]  # [P] of [M, M]

    @classmethod
    def of(cls, fitted: Recording, candidates: Sequence[Sequence[Candidate]]) -> Described:
        """Of all answers."""
        prompts = fitted.data.prompts
        features = [relative_features(each, prompt.text) for each, prompt in zip(candidates, prompts, strict=True)]
        likeness = [
            similarity([None] * len(each), [{"text_characters": len(one.text), **one.features} for one in each])
            for each in candidates
        ]
        return cls(features, likeness)


@dataclass(frozen=True)
class Rows:
    """The pairs of a stream in their order, judged ones and labels."""

    pairs: Pairs  # with the verdict, or the side that the label takes
    judged: NDArray[np.bool_]  # [n]
    probability: NDArray[np.float64]  # that the verdict's side is better if one is, [n]

    def wrong(self, fitted: Recording) -> float:
        """The share of the labels that contradict a decisive verdict; 0 without labels."""
        labels = ~self.judged
        true = fitted.judge.verdicts(*(column[labels] for column in list(vars(self.pairs).values())[:3]))
        return float((true == -self.pairs.verdict[labels]).sum()) / max(1, int(labels.sum()))

    def until(self, calls: int) -> Rows:
        """The rows up to the one that cost the last of so many calls."""
        end = int(np.searchsorted(np.cumsum(self.judged), calls)) + 1
        pairs = Pairs(*(column[:end] for column in vars(self.pairs).values()))
        return Rows(pairs, self.judged[:end], self.probability[:end])


class RewardStream:
    """The state of one stream."""

    def __init__(self, fitted: Recording, described: Described, settings: StreamSettings, seed: int) -> None:
        """An empty stream."""
        self._fitted, self._described, self._settings, self._seed = fitted, described, settings, seed
        self._models = fitted.data.models
        self._skills = fitted.data.skill_indices()
        self._known = Snapshot.empty(self._models, fitted.data.skills)
        self._counts = np.zeros((len(fitted.data.skills), len(self._models), len(self._models), 3))
        self._gate = SureState()
        self._posterior: Posterior | None = None
        self._examples: list[Example] = []
        self._fitted_at = 0.0

    def run(self, calls: int) -> Rows:
        """The rows of so many judge calls, or of fewer where the policy forms no more different pairs."""
        rows: list[tuple[int, int, int, int, bool, float]] = []
        seen: set[tuple[int, int, int]] = set()
        spent = idle = round_ = 0
        while idle < _IDLE_ROUNDS and spent < calls:
            order = np.random.default_rng([self._seed, round_]).permutation(len(self._fitted.data.prompts))
            before = len(seen)
            for start in range(0, len(order), _PLANNED_AT_ONCE):
                for pair in self._planned(order[start : start + _PLANNED_AT_ONCE].tolist(), round_):
                    if pair in seen:
                        continue
                    seen.add(pair)
                    row = self._step(*pair, round_)
                    if row is not None:
                        rows.append(row)
                        spent += row[4]
                self._learn()
                if spent >= calls:
                    break
            idle = 0 if len(seen) > before else idle + 1
            round_ += 1
        *sides, judged, probability = (np.array(column) for column in zip(*rows, strict=True))
        return Rows(Pairs(*sides), judged, probability).until(calls)

    def _planned(self, places: Sequence[int], round_: int) -> list[tuple[int, int, int]]:
        data = self._fitted.data
        planned = plan(
            [
                PlannedPrompt(seed_of(data.prompts[place].id, "round", round_, self._seed), data.prompts[place].skill)
                for place in places
            ],
            data.models,
            self._settings.policy,
            2,
            self._known,
        )
        index = {model: number for number, model in enumerate(data.models)}
        pairs = [(index[first], index[second]) for (first, _), (second, _) in planned]
        return [(place, min(pair), max(pair)) for place, pair in zip(places, pairs, strict=True)]

    def _step(self, place: int, a: int, b: int, round_: int) -> tuple[int, int, int, int, bool, float] | None:
        """A judged row, a labeled row, or None."""
        difference = self._described.features[place][[a]] - self._described.features[place][[b]]
        likeness = float(self._described.likeness[place][a, b])
        rule = sure_rule(self._settings, self._known)
        if rule is not None:
            skill = self._fitted.data.prompts[place].skill
            names = [self._models[a]], [self._models[b]]
            predicted = gap_pairs(self._known, skill, *names, difference, [likeness])
            rng = random.Random(f"gate {self._seed} {place} {round_}")
            (decision,), self._gate = label_or_judge(predicted, rule, self._gate, rng)
            if not decision.judged:
                win = predicted[0].win
                return (place, a, b, 1 if win > 0.5 else -1, False, max(win, 1.0 - win)) if decision.sure else None
        verdict = int(self._fitted.judge.verdicts([place], [a], [b])[0])
        self._record(place, a, b, round_, verdict, difference[0], likeness)
        return place, a, b, verdict, True, 1.0

    def _record(
        self, place: int, a: int, b: int, round_: int, verdict: int, difference: NDArray[np.float64], likeness: float
    ) -> None:
        skill = int(self._skills[place])
        self._counts[skill, a, b, 2 if verdict == 0 else 0 if verdict > 0 else 1] += 1.0
        if self._settings.label_at is None:
            return
        prompt = round_ * len(self._skills) + place
        ids = 2 * prompt, 2 * prompt + 1
        outcome, chosen = ("tie", None) if verdict == 0 else ("decisive", ids[verdict < 0])
        reasons = json.dumps({"contrast": np.round(difference, 4).tolist(), "likeness": likeness})
        names = self._models[a], self._models[b]
        self._examples.append(
            Example(prompt, self._fitted.data.prompts[place].skill, *ids, *names, reasons, outcome, chosen)
        )

    def _learn(self) -> None:
        number = float(self._counts.sum())
        if self._settings.policy == "random" and self._settings.label_at is None:
            return
        if number < self._fitted_at * (1.0 + _GROWTH) or not number:
            return
        self._fitted_at = number
        skill, first, second = np.nonzero(self._counts.any(axis=3))
        counts = Counts(skill, first, second, *self._counts[skill, first, second].T)
        skills = self._fitted.data.skills
        self._posterior = fit_with_learned_scale(counts, self._models, skills, Prior(), self._posterior)
        known = snapshot(self._posterior, self._known.version + 1)
        outcome, ties = self._known.outcome, self._known.ties
        if self._examples:
            newest = self._examples[::-1]
            outcome = fit_outcome(examples_of(newest, known, {})) or outcome
            ties = fit_ties(tie_examples_of(newest, known, {}))
        self._known = replace(known, outcome=outcome, ties=ties)
