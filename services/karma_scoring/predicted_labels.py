"""Predicted labels for unjudged pairs, once their prompt's other pairs have their verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from karma.ranking.davidson import win_given_decisive
from karma.ranking.outcome_model import OutcomeModel, posterior_advantage

Array = NDArray[np.float64]

_CLIP = 1e-6  # a probability of 0 or 1 has no logit


@dataclass(frozen=True)
class PromptPair:
    """One pair of a prompt under a judge budget."""

    pair: int
    response_a: int
    response_b: int
    predicted: float  # P(a better | decisive) by the outcome model when the pair was formed
    judged_probability: float
    outcome: float | None  # 1: a is better, −1: b is better, 0: tie; None: no valid verdict


@dataclass(frozen=True)
class Label:
    """The prediction for a pair from everything except its own verdicts."""

    pair: int
    probability: float  # P(a better | decisive)


def predict_labels(pairs: Sequence[PromptPair], model: OutcomeModel | None) -> list[Label]:
    """The predictions for one prompt's pairs without an outcome, and for its audited pairs.

    An audited pair is predicted as if it had not been judged, from the same other verdicts, so that its error is that
    of unaudited labels. Without response effects the prediction is the one made when the pair was formed.
    """
    asked = [index for index, pair in enumerate(pairs) if pair.outcome is None or pair.judged_probability < 1.0]
    effects = None if model is None else model.siblings
    if model is None or effects is None:
        return [Label(pairs[index].pair, pairs[index].predicted) for index in asked]
    _, response = np.unique([[pair.response_a, pair.response_b] for pair in pairs], return_inverse=True)
    first, second = response.reshape(-1, 2).T
    probability = np.clip([pair.predicted for pair in pairs], _CLIP, 1.0 - _CLIP)
    advantage = np.log(probability / (1.0 - probability))
    judged = np.array([index for index, pair in enumerate(pairs) if pair.outcome is not None], dtype=np.intp)
    outcome = np.array([pair.outcome for pair in pairs if pair.outcome is not None], dtype=np.float64)

    def posterior(others: NDArray[np.bool_]) -> Array:
        return posterior_advantage(effects, model.tie, advantage, first, second, judged[others], outcome[others])

    unjudged = posterior(np.full(len(judged), True))
    labels = []
    for index in asked:
        eta = unjudged if pairs[index].outcome is None else posterior(judged != index)
        labels.append(Label(pairs[index].pair, float(win_given_decisive(eta[index : index + 1])[0])))
    return labels
