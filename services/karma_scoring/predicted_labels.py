"""Labels for the pairs that no judge saw, once the verdicts on their prompt's other pairs are in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from karma.ranking.outcome_model import OutcomeModel, posterior_advantage, win_given_decisive

Array = NDArray[np.float64]

_CLIP = 1e-6  # a probability of 0 or 1 has no logit


@dataclass(frozen=True)
class PromptPair:
    """One pair of a prompt that went through the gate."""

    pair: int
    response_a: int
    response_b: int
    predicted: float  # P(a better | decisive) by the outcome model when it was formed
    judged_probability: float
    outcome: float | None  # 1: a was better, −1: b was, 0: a tie; None: no valid verdict, or none was asked for


@dataclass(frozen=True)
class Label:
    """What is predicted of a pair from all that is known but its own verdicts."""

    pair: int
    probability: float  # P(a better | decisive)


def predict_labels(pairs: Sequence[PromptPair], model: OutcomeModel | None) -> list[Label]:
    """The predictions for one prompt's pairs: all that have no outcome, and those that were judged as an audit.

    An audited pair is predicted as if it had not been judged, from the same siblings, so that its error is that of the
    labels nobody checks. Without a model of siblings the prediction is the one made when the pair was formed.
    """
    places = [n for n, pair in enumerate(pairs) if pair.outcome is None or pair.judged_probability < 1.0]
    if model is None or model.siblings is None:
        return [Label(pairs[n].pair, pairs[n].predicted) for n in places]
    _, place = np.unique(
        np.array([[pair.response_a for pair in pairs], [pair.response_b for pair in pairs]]), return_inverse=True
    )
    first, second = place.reshape(2, -1)
    probability = np.clip([pair.predicted for pair in pairs], _CLIP, 1.0 - _CLIP)
    advantage = np.log(probability / (1.0 - probability))
    known = np.array([n for n, pair in enumerate(pairs) if pair.outcome is not None], dtype=np.intp)
    outcome = np.array([pair.outcome for pair in pairs if pair.outcome is not None], dtype=np.float64)
    after = posterior_advantage(model.siblings, model.tie, advantage, first, second, known, outcome)
    labels = []
    for n in places:
        told = after
        if pairs[n].outcome is not None:
            others = known != n
            told = posterior_advantage(
                model.siblings, model.tie, advantage, first, second, known[others], outcome[others]
            )
        labels.append(Label(pairs[n].pair, float(win_given_decisive(told[n : n + 1])[0])))
    return labels
