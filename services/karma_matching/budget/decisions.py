"""The judge budget of a stream in matching: predictions for a prompt's pairs, and decisions about them."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from karma.config.judge_calls import calls_per_pair
from karma.config.settings import StreamSettings
from karma.messages import JudgeSpec
from karma.policies.candidates import Candidate
from karma.ranking.davidson import tie_probability
from karma.ranking.label_limit import LabelLimit
from karma.ranking.snapshot import Snapshot
from karma.store import Transaction
from karma_matching.budget.allocation import Budget, BudgetState, Decision, after, arrived, decide, judge_all
from karma_matching.budget.expected_information import expected_information
from karma_matching.budget.gap_pairs import gap_pairs
from karma_matching.budget.relative_features import relative_features, signs, stored_signs, word_similarity, words_of
from karma_matching.budget.sure_labels import SureRule, SureState, label_or_judge
from karma_matching.pairing import FormedPair

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Prediction:
    """The predicted verdict on a pair."""

    win: float  # P(a better | decisive)
    tie: float  # P(tie)
    relative_features: tuple[float, ...]  # of a minus those of b; the outcome model is fitted to them
    signs: Mapping[str, Any] = field(default_factory=dict)  # to be stored; the label model is fitted to them


@dataclass
class JudgeBudget:
    """A stream's judge budget within one transaction, which holds the lock on its row."""

    stream: str
    budget: Budget
    state: BudgetState
    snapshot: Snapshot
    ceiling: float = math.inf  # expected information above which every pair is judged, bits
    rule: SureRule | None = None  # None: no pair is labeled because the posterior is sure
    sure: SureState = field(default_factory=SureState)

    @classmethod
    def lock(
        cls,
        name: str,
        transaction: Transaction,
        stream: StreamSettings,
        judges: Sequence[JudgeSpec],
        snapshot: Snapshot,
    ) -> JudgeBudget:
        """The budget of a stream, locked until the end of the transaction: other workers wait for it."""
        budget = Budget(
            judge_share=stream.judge_share,
            calls_per_hour=stream.judge_calls_per_hour,
            audit_share=stream.audit_share,
            calls_per_pair=calls_per_pair(judges, stream),
        )
        body = transaction.judge_budgets.lock(name)
        state = BudgetState.from_json(body, budget.calls_per_pair)
        most = ceiling(snapshot.label_limits.get(name), stream.max_label_error)
        return cls(name, budget, state, snapshot, most, sure_rule(stream, snapshot), SureState.from_json(body))

    def charge(self, calls: int, now: float) -> None:
        """Count calls beyond those of the pairs that were decided: a pair that all judges see takes more."""
        if calls and self.budget.calls_per_hour is not None:
            self.state = replace(self.state, recent=self.state.recent.with_new(now, 0, calls))

    def keep(self, transaction: Transaction) -> None:
        """Write the budget's state."""
        more = {"sure": self.sure.to_dict()} if self.sure.seen else {}
        transaction.judge_budgets.keep(self.stream, self.state.seen, self.state.judged, self.state.to_json(**more))

    def decide(
        self,
        candidates: Sequence[Candidate],
        pairs: Sequence[FormedPair],
        prompt: str,
        skill: str | None,
        seed: int,
        now: float,
    ) -> list[tuple[Decision, Prediction]]:
        """Decide about the pairs of one prompt, in their order.

        Args:
            candidates: the prompt's usable responses.
            pairs: at least one.
            prompt: its text.
            skill: its skill.
            seed: its seed.
            now: seconds since 1970.
        """
        index = {candidate.response_id: number for number, candidate in enumerate(candidates)}
        first = np.array([index[pair.a] for pair in pairs], dtype=np.intp)
        second = np.array([index[pair.b] for pair in pairs], dtype=np.intp)
        models_a, models_b = ([candidates[number].model for number in side] for side in (first, second))
        words = [words_of(candidate.text) for candidate in candidates]
        similarity = word_similarity(words)
        features = relative_features(candidates, words, prompt, similarity)
        difference = features[first] - features[second]
        known = [self.snapshot.between(a, b, skill) for a, b in zip(models_a, models_b, strict=True)]
        model = self.snapshot.outcome
        rng = random.Random(f"gate {seed}")  # noqa: S311 - a reproducible draw, no secret
        stored: list[dict[str, Any]] = [{} for _ in pairs]
        if self.rule is not None:
            seen = signs(similarity, first, second, [float(pair.reasons["likeness"] or 0.0) for pair in pairs])
            predicted, stored = gap_pairs(self.snapshot, skill, models_a, models_b, seen), stored_signs(seen)
            affordable, left, state = arrived(self.budget, self.state, len(pairs), now)
            decisions, self.sure = label_or_judge(predicted, self.rule, self.sure, rng, self.ceiling, affordable, left)
            judged = sum(decision.judged for decision in decisions)
            none = np.zeros(0, dtype=np.intp)
            self.state = after(self.budget, state, none, len(pairs), judged, float(judged), now)
            win, tie = np.array([each.win for each in predicted]), np.array([each.tie for each in predicted])
        elif model is None:
            bits_alone = [comparison.information for comparison in known]
            decisions, self.state = judge_all(bits_alone, self.budget, self.state, rng, now)
            win = np.array([comparison.win_probability for comparison in known])
            tie = 1.0 - self.snapshot.decisive(np.array([comparison.gap for comparison in known]), skill)
        else:
            gap = np.array([comparison.gap for comparison in known])
            deviation = model.deviation(np.array([comparison.gap_deviation for comparison in known]))
            advantage = model.advantage(gap, difference, models_a, models_b)
            order, bits = expected_information(model, advantage, deviation, first, second)
            decisions, self.state = decide(order, bits, self.budget, self.state, self.ceiling, rng, now)
            win, tie = model.win(advantage), tie_probability(advantage, model.tie)
        columns = win.tolist(), tie.tolist(), map(tuple, np.round(difference, 4).tolist()), stored
        predictions = [Prediction(*row) for row in zip(*columns, strict=True)]
        return list(zip(decisions, predictions, strict=True))


def sure_rule(stream: StreamSettings, snapshot: Snapshot) -> SureRule | None:
    """When the pairs of a stream are sure; None for a stream whose labels follow from expected information alone."""
    if stream.label_at is None or stream.judge_share is None:
        return None
    models = len(set(snapshot.models).intersection(stream.models) if stream.models else snapshot.models)
    return SureRule(stream.label_at, stream.judge_share, stream.audit_share, models, stream.target is not None)


def ceiling(known: LabelLimit | None, limit: float | None) -> float:
    """The expected information above which every pair is judged, bits.

    Args:
        known: of the newest snapshot; it may be of an earlier, laxer limit of the pool file.
        limit: `max_label_error`; None: no limit.
    """
    if limit is None:
        return math.inf
    return -math.inf if known is None or known.ceiling is None or known.limit > limit else known.ceiling
