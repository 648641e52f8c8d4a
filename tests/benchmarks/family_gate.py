"""The product's gate for gap pairs in a stream of the tiny family, with what it learns at each refit."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from karma.config.settings import StreamSettings
from karma.policies.candidates import Candidate
from karma.ranking.label_model import LabelModel, PairSigns
from karma.ranking.snapshot import Snapshot
from karma.seeds import seed_of
from karma.store.records import Example
from karma.verdicts import Resolution
from karma_demo.tasks import Task
from karma_matching.budget.allocation import Decision
from karma_matching.budget.decisions import sure_rule
from karma_matching.budget.gap_pairs import gap_pairs
from karma_matching.budget.relative_features import signs, stored_signs, word_similarity, words_of
from karma_matching.budget.sure_labels import SureRule, SureState, label_or_judge
from karma_matching.pairing import FormedPair
from karma_scoring.fit.predictions.label_fit import fit_labels, label_examples_of

_GROWTH = 0.05  # of verdicts between two fits of the label model, as in the refit
_RESPONSES = 1000  # more than a prompt has: responses of a store have ids of their own


class FamilyGate:
    """The state of the gate of one stream."""

    def __init__(self, settings: StreamSettings) -> None:
        """An empty state."""
        self._settings = settings
        self._state = SureState()
        self._examples: list[Example] = []
        self._fitted_at = 0.0
        self._labels: LabelModel | None = None

    def decide(
        self, task: Task, pairs: Sequence[FormedPair], candidates: Mapping[int, Candidate], known: Snapshot
    ) -> list[tuple[Decision, float]]:
        """The decisions about a prompt's pairs, each with P(response a is better | decisive)."""
        rule = sure_rule(self._settings, known)
        assert isinstance(rule, SureRule)
        models_a, models_b = ([candidates[each].model for each in side] for side in _sides(pairs))
        predicted = gap_pairs(known, task.skill, models_a, models_b, _signs(pairs, candidates))
        rng = random.Random(f"gate {seed_of(task.id, 'gate')}")
        decisions, self._state = label_or_judge(predicted, rule, self._state, rng)
        return [(decision, each.win) for decision, each in zip(decisions, predicted, strict=True)]

    def record(
        self, prompt: int, task: Task, pair: FormedPair, candidates: Mapping[int, Candidate], found: Resolution
    ) -> None:
        """Keep a judged pair to learn from."""
        if found.outcome == "unscored":
            return
        stored = stored_signs(_signs([pair], candidates))[0]
        reasons = json.dumps({"likeness": pair.reasons["likeness"], **stored})
        a, b = prompt * _RESPONSES + pair.a, prompt * _RESPONSES + pair.b
        chosen = None if found.outcome != "decisive" else a if found.a_is_chosen else b
        models = candidates[pair.a].model, candidates[pair.b].model
        self._examples.append(Example(prompt, task.skill, a, b, *models, reasons, found.outcome, chosen))

    def learn(self, known: Snapshot) -> Snapshot:
        """The snapshot of a refit with the label model."""
        if len(self._examples) >= self._fitted_at * (1 + _GROWTH):
            self._fitted_at = len(self._examples)
            self._labels = fit_labels(label_examples_of(self._examples[::-1], known, {}))
        return replace(known, labels=self._labels)


def _sides(pairs: Sequence[FormedPair]) -> tuple[list[int], list[int]]:
    return [pair.a for pair in pairs], [pair.b for pair in pairs]


def _places(pairs: Sequence[FormedPair], candidates: Mapping[int, Candidate]) -> list[NDArray[np.intp]]:
    place = {number: row for row, number in enumerate(candidates)}
    return [np.array([place[each] for each in side], dtype=np.intp) for side in _sides(pairs)]


def _signs(pairs: Sequence[FormedPair], candidates: Mapping[int, Candidate]) -> PairSigns:
    likeness = [float(pair.reasons["likeness"] or 0.0) for pair in pairs]
    return signs(
        word_similarity([words_of(candidate.text) for candidate in candidates.values()]),
        *_places(pairs, candidates),
        likeness,
    )
