"""Spending a stream's judge budget: predictions for the pairs of a prompt, and which of them are judged."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from karma.config.settings import StreamSettings
from karma.messages import JudgeSpec
from karma.policies.candidates import Candidate
from karma.policies.matching import FormedPair
from karma.ranking.outcome_model import tie_probability, win_given_decisive
from karma.ranking.snapshot import Snapshot
from karma.store import Transaction
from karma_matching.budget.allocation import Budget, BudgetState, Decision, decide, judge_all
from karma_matching.budget.expected_information import expected_information
from karma_matching.budget.relative_features import contrast

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Spent:
    """What was decided about a pair, and what is predicted of it."""

    decision: Decision
    predicted: float  # P(a better | decisive)
    predicted_tie: float  # P(tie)
    contrast: tuple[float, ...]  # features of a minus those of b, for the outcome model to learn from

    def reasons(self) -> dict[str, Any]:
        """For the pair's reasons."""
        return {
            "gate": self.decision.why,
            "gate_information": round(self.decision.information, 4),
            "contrast": self.contrast,
        }


class Spending:
    """One transaction's use of a stream's gate, whose row it holds."""

    def __init__(
        self, stream: str, budget: Budget, state: BudgetState, snapshot: Snapshot, label_error: float | None
    ) -> None:
        self._stream = stream
        self._budget = budget
        self.state = state
        self._snapshot = snapshot
        self._label_error = label_error

    @classmethod
    def begin(
        cls,
        name: str,
        transaction: Transaction,
        stream: StreamSettings,
        judges: Sequence[JudgeSpec],
        snapshot: Snapshot,
    ) -> Spending:
        """Take the gate of a stream in hand; other workers wait for this transaction's end."""
        budget = Budget(
            judge_share=stream.judge_share,
            calls_per_hour=stream.judge_calls_per_hour,
            audit_share=stream.audit_share,
            max_label_error=stream.max_label_error,
            calls_per_pair=max(1, sum(2 if judge.both_orders else 1 for judge in judges)),
        )
        state = BudgetState.from_json(transaction.judge_budgets.lock(name))
        audited = snapshot.audits.get(name)
        return cls(name, budget, state, snapshot, audited.estimate if audited else None)

    def keep(self, transaction: Transaction) -> None:
        """Write the gate's state."""
        transaction.judge_budgets.keep(self._stream, self.state.seen, self.state.judged, self.state.to_json())

    def decide(
        self,
        candidates: Sequence[Candidate],
        pairs: Sequence[FormedPair],
        prompt: str,
        skill: str | None,
        seed: int,
        now: float,
    ) -> list[Spent]:
        """Decide about the pairs of one prompt; one answer each, in their order.

        Args:
            candidates: the prompt's usable responses.
            pairs: at least one.
            prompt: its text.
            skill: its skill.
            seed: its own.
            now: seconds since 1970.
        """
        places = {candidate.response_id: place for place, candidate in enumerate(candidates)}
        first = np.array([places[pair.a] for pair in pairs], dtype=np.intp)
        second = np.array([places[pair.b] for pair in pairs], dtype=np.intp)
        models = [candidate.model for candidate in candidates]
        measured = contrast(candidates, prompt)
        difference = measured[first] - measured[second]
        known = [self._snapshot.between(models[a], models[b], skill) for a, b in zip(first, second, strict=True)]
        model = self._snapshot.outcome
        if model is None:
            decisions, self.state = judge_all([one.information for one in known], self.state, now)
            predicted = np.array([one.win_probability for one in known])
            tie = np.full(len(pairs), self._snapshot.tie / (2.0 + self._snapshot.tie))
        else:
            gap = np.array([one.gap for one in known])
            deviation = model.deviation(np.array([one.gap_deviation for one in known]))
            advantage = model.advantage(gap, difference, [models[a] for a in first], [models[b] for b in second])
            order, bits = expected_information(model, advantage, deviation, first, second)
            rng = random.Random(f"gate {seed}")  # noqa: S311 - a reproducible draw, no secret
            decisions, self.state = decide(order, bits, self._budget, self.state, self._label_error, rng, now)
            predicted, tie = win_given_decisive(advantage), tie_probability(advantage, model.tie)
        rounded = np.round(difference, 4).tolist()
        return [
            Spent(decision, float(probability), float(tied), tuple(row))
            for decision, probability, tied, row in zip(decisions, predicted, tie, rounded, strict=True)
        ]
