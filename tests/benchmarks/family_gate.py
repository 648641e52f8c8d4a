"""The product's gate for gap pairs in a stream of the tiny family, with what it learns at each refit."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from karma.config.settings import StreamSettings
from karma.policies.candidates import Candidate
from karma.ranking.outcome_model import OutcomeModel
from karma.ranking.snapshot import Snapshot
from karma.ranking.tie_model import TieModel
from karma.seeds import seed_of
from karma.store.records import Example
from karma.verdicts import Resolution
from karma_demo.tasks import Task
from karma_matching.budget.allocation import Decision
from karma_matching.budget.decisions import sure_rule
from karma_matching.budget.gap_pairs import gap_pairs
from karma_matching.budget.relative_features import relative_features
from karma_matching.budget.sure_labels import SureRule, SureState, label_or_judge
from karma_matching.pairing import FormedPair
from karma_scoring.fit.predictions.judge_budget import examples_of
from karma_scoring.fit.predictions.outcome_fit import fit_outcome
from karma_scoring.fit.predictions.tie_fit import fit_ties, tie_examples_of

_GROWTH = 0.05  # of verdicts between two fits of the models, as in the refit
_RESPONSES = 1000  # more than a prompt has: responses of a store have ids of their own


class FamilyGate:
    """The state of the gate of one stream."""

    def __init__(self, settings: StreamSettings) -> None:
        """An empty state."""
        self._settings = settings
        self._state = SureState()
        self._examples: list[Example] = []
        self._fitted_at = 0.0
        self._outcome: OutcomeModel | None = None
        self._ties: TieModel | None = None

    def decide(
        self, task: Task, pair: FormedPair, candidates: Mapping[int, Candidate], known: Snapshot
    ) -> tuple[Decision, float]:
        """The decision about the one pair of a prompt, and the predicted P(response a is better | decisive)."""
        rule = sure_rule(self._settings, known)
        assert isinstance(rule, SureRule)
        a, b, difference = candidates[pair.a], candidates[pair.b], _difference(task, pair, candidates)
        likeness = [float(pair.reasons["likeness"] or 0.0)]
        predicted = gap_pairs(known, task.skill, [a.model], [b.model], difference, likeness)
        rng = random.Random(f"gate {seed_of(task.id, 'gate')}")
        decisions, self._state = label_or_judge(predicted, rule, self._state, rng)
        return decisions[0], predicted[0].win

    def record(
        self, prompt: int, task: Task, pair: FormedPair, candidates: Mapping[int, Candidate], found: Resolution
    ) -> None:
        """Keep a judged pair to learn from."""
        if found.outcome == "unscored":
            return
        difference = np.round(_difference(task, pair, candidates)[0], 4).tolist()
        reasons = json.dumps({"contrast": difference, "likeness": pair.reasons["likeness"]})
        a, b = prompt * _RESPONSES + pair.a, prompt * _RESPONSES + pair.b
        chosen = None if found.outcome != "decisive" else a if found.a_is_chosen else b
        models = candidates[pair.a].model, candidates[pair.b].model
        self._examples.append(Example(prompt, task.skill, a, b, *models, reasons, found.outcome, chosen))

    def learn(self, known: Snapshot) -> Snapshot:
        """The snapshot of a refit with the outcome model and the tie model."""
        if len(self._examples) >= self._fitted_at * (1 + _GROWTH):
            self._fitted_at = len(self._examples)
            newest = self._examples[::-1]
            self._outcome = fit_outcome(examples_of(newest, known, {})) or self._outcome
            self._ties = fit_ties(tie_examples_of(newest, known, {}))
        return replace(known, outcome=self._outcome, ties=self._ties)


def _difference(task: Task, pair: FormedPair, candidates: Mapping[int, Candidate]) -> NDArray[np.float64]:
    rows = relative_features(list(candidates.values()), task.prompt)
    place = {number: row for row, number in enumerate(candidates)}
    return rows[[place[pair.a]]] - rows[[place[pair.b]]]
