"""Predicted labels for unjudged pairs, once their prompt's other pairs have their verdicts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from karma.ranking.outcome_model import OutcomeModel, posterior_advantage
from karma.store.judge_budgets import BudgetedPair


def predict_labels(pairs: Sequence[BudgetedPair], model: OutcomeModel | None) -> list[tuple[BudgetedPair, float]]:
    """P(a better | decisive) of one prompt's pairs without a valid verdict, and of its audited pairs.

    A prediction uses everything except the pair's own verdicts. An audited pair is predicted as if it had not been
    judged, from the same other verdicts, so that its error is that of unaudited labels. Without response effects the
    prediction is the one made when the pair was formed.
    """
    outcomes = np.array([_outcome(pair) for pair in pairs], dtype=np.float64)  # NaN without a valid verdict
    unjudged = np.isnan(outcomes)
    wanted = [index for index, pair in enumerate(pairs) if unjudged[index] or pair.judged_probability < 1.0]
    effects = None if model is None else model.siblings
    if model is None or effects is None:
        return [(pairs[index], pairs[index].predicted) for index in wanted]
    _, response = np.unique([[pair.response_a, pair.response_b] for pair in pairs], return_inverse=True)
    first, second = response.reshape(-1, 2).T
    advantage = model.advantage_at(np.array([pair.predicted for pair in pairs]))
    judged = np.flatnonzero(~unjudged)

    def posterior(known: NDArray[np.intp]) -> NDArray[np.float64]:
        return posterior_advantage(effects, model.tie, advantage, first, second, known, outcomes[known])

    given_all = posterior(judged)
    labels = []
    for index in wanted:
        eta = given_all if unjudged[index] else posterior(judged[judged != index])
        labels.append((pairs[index], float(model.win(eta[index : index + 1])[0])))
    return labels


def _outcome(pair: BudgetedPair) -> float | None:
    """1 where a is better, −1 where b is better, 0 where the verdicts take no side; None without a valid verdict."""
    if not pair.judged or pair.outcome in (None, "unscored"):
        return None
    return 0.0 if pair.outcome != "decisive" else 1.0 if pair.chosen == pair.response_a else -1.0
