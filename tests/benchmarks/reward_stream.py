"""Streams on recorded answers for the reward model: planned, paired, judged or labeled, and learned from as they run.

A round sends every fit prompt once, in random order, planned and paired by the product's code; rounds go on
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
from karma.ranking.snapshot import Snapshot
from karma.seeds import seed_of
from karma.store.records import Example
from karma_gateway.planning import PlannedPrompt, plan
from karma_matching.budget.decisions import sure_rule
from karma_matching.budget.gap_pairs import gap_pairs
from karma_matching.budget.relative_features import signs, stored_signs, word_similarity, words_of
from karma_matching.budget.sure_labels import SureState, label_or_judge
from karma_matching.pairing import FormedPair, form
from karma_scoring.fit.competency import Counts, Posterior, Prior
from karma_scoring.fit.kinship import snapshot
from karma_scoring.fit.predictions.label_fit import fit_labels, label_examples_of
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
    "reward/uneven": StreamSettings(**{**_LABELED, "audit_share": 0.05}),
    "best-vs-random/labels": StreamSettings(**{**_LABELED, "policy": "best-vs-random"}),
    "reward/all": StreamSettings(**{**_LABELED, "judge_share": 1.0, "audit_share": 0.05}),
}


#: Prompt, models a and b, the side of a verdict or of a label, whether it is judged, its probability.
_Row = tuple[int, int, int, int, bool, float]


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

    def __init__(
        self, fitted: Recording, candidates: Sequence[Sequence[Candidate]], settings: StreamSettings, seed: int
    ) -> None:
        """An empty stream; `candidates` are the answers to each prompt, in the order of the models."""
        self._fitted, self._candidates, self._settings, self._seed = fitted, candidates, settings, seed
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
        rows: list[_Row] = []
        seen: set[tuple[int, int, int]] = set()
        spent = idle = round_ = 0
        while idle < _IDLE_ROUNDS and spent < calls:
            order = np.random.default_rng([self._seed, round_]).permutation(len(self._fitted.data.prompts))
            before = len(seen)
            for start in range(0, len(order), _PLANNED_AT_ONCE):
                for place, models in self._planned(order[start : start + _PLANNED_AT_ONCE].tolist(), round_):
                    pairs = [
                        pair for pair in self._paired(place, models, round_) if (place, pair.a, pair.b) not in seen
                    ]
                    seen.update((place, pair.a, pair.b) for pair in pairs)
                    new = self._step(place, models, pairs, round_) if pairs else []
                    rows += new
                    spent += sum(row[4] for row in new)
                self._learn()
                if spent >= calls:
                    break
            idle = 0 if len(seen) > before else idle + 1
            round_ += 1
        *sides, judged, probability = (np.array(column) for column in zip(*rows, strict=True))
        return Rows(Pairs(*sides), judged, probability).until(calls)

    def _planned(self, places: Sequence[int], round_: int) -> list[tuple[int, list[int]]]:
        """Each prompt with the models that answer it."""
        data = self._fitted.data
        planned = plan(
            [
                PlannedPrompt(seed_of(data.prompts[place].id, "round", round_, self._seed), data.prompts[place].skill)
                for place in places
            ],
            data.models,
            self._settings.policy,
            self._settings.responses_per_prompt,
            self._known,
        )
        index = {model: number for number, model in enumerate(data.models)}
        return [(place, [index[model] for model, _ in each]) for place, each in zip(places, planned, strict=True)]

    def _paired(self, place: int, models: Sequence[int], round_: int) -> list[FormedPair]:
        """The pairs of one prompt; a response's id is its model's place."""
        prompt = self._fitted.data.prompts[place]
        answers = [self._candidates[place][model] for model in models]
        seed = seed_of(prompt.id, "match", round_, self._seed)
        count = self._settings.pairs_per_prompt
        return form(answers, self._settings.policy, count, self._known, prompt.skill, seed)[0]

    def _step(self, place: int, models: Sequence[int], pairs: Sequence[FormedPair], round_: int) -> list[_Row]:
        """The judged and the labeled rows of one prompt's pairs."""
        rule = sure_rule(self._settings, self._known)
        verdicts = [int(self._fitted.judge.verdicts([place], [pair.a], [pair.b])[0]) for pair in pairs]
        if rule is None:
            for pair, verdict in zip(pairs, verdicts, strict=True):
                self._record(place, pair, round_, verdict, {})
            return [(place, pair.a, pair.b, verdict, True, 1.0) for pair, verdict in zip(pairs, verdicts, strict=True)]
        answers = [self._candidates[place][model] for model in models]
        at = {model: row for row, model in enumerate(models)}
        first, second = np.array([at[pair.a] for pair in pairs]), np.array([at[pair.b] for pair in pairs])
        similarity = word_similarity([words_of(answer.text) for answer in answers])
        seen = signs(similarity, first, second, [float(pair.reasons["likeness"] or 0.0) for pair in pairs])
        names = ([self._models[pair.a] for pair in pairs], [self._models[pair.b] for pair in pairs])
        predicted = gap_pairs(self._known, self._fitted.data.prompts[place].skill, *names, seen)
        rng = random.Random(f"gate {self._seed} {place} {round_}")
        decisions, self._gate = label_or_judge(predicted, rule, self._gate, rng)
        rows: list[_Row] = []
        for each in zip(pairs, verdicts, decisions, predicted, stored_signs(seen), strict=True):
            pair, verdict, decision, known, stored = each
            if decision.judged:
                self._record(place, pair, round_, verdict, stored)
                rows.append((place, pair.a, pair.b, verdict, True, 1.0))
            elif decision.sure:
                rows.append((place, pair.a, pair.b, 1 if known.win > 0.5 else -1, False, known.certainty))
        return rows

    def _record(self, place: int, pair: FormedPair, round_: int, verdict: int, stored: Mapping[str, Any]) -> None:
        skill = int(self._skills[place])
        self._counts[skill, pair.a, pair.b, 2 if verdict == 0 else 0 if verdict > 0 else 1] += 1.0
        if self._settings.label_at is None:
            return
        prompt = round_ * len(self._skills) + place
        ids = 2 * prompt, 2 * prompt + 1
        outcome, chosen = ("tie", None) if verdict == 0 else ("decisive", ids[verdict < 0])
        reasons = json.dumps({"likeness": pair.reasons["likeness"], **stored})
        names = self._models[pair.a], self._models[pair.b]
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
        labels = fit_labels(label_examples_of(self._examples[::-1], known, {})) if self._examples else None
        self._known = replace(known, labels=labels)
