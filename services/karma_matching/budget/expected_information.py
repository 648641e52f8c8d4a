"""Expected information of a verdict on each of a prompt's pairs, in bits.

It is the entropy of the predicted verdict (uncertainty sampling, Lewis & Gale 1994; the first term of BALD, Houlsby et
al. 2011), with the uncertainty of the competencies in the prediction: pairs of a model that is hardly known come first.
Its expected entropy, were the competencies known, would put them last.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from karma.ranking.information import outcome as expected_outcome
from karma.ranking.outcome_model import OutcomeModel, ResponseEffects

Array = NDArray[np.float64]
Indices = NDArray[np.intp]


def expected_information(
    model: OutcomeModel, advantage: Array, deviation: Array, first: Indices, second: Indices
) -> tuple[Indices, Array]:
    """The best order to judge a prompt's pairs, and the information of each beyond that of the pairs before it, bits.

    Greedy: the most informative pair is next. Then the variance of its two responses' effects is reduced as its verdict
    will reduce it (a rank-one update of the Gaussian, Sherman & Morrison 1950), so that pairs which that verdict also
    decides come later. If the model has no response effects, the pairs are sorted by their information.

    Args:
        model: the outcome model.
        advantage: η, logits, [n].
        deviation: standard deviation of η from the competencies, logits, [n].
        first: the index of response a among the prompt's responses, [n].
        second: the index of response b, [n].

    Returns:
        Indices of pairs [n], and the information of the pair at each rank [n], never rising.
    """
    # The mean of a logistic of a Gaussian is about that of its mean over this (MacKay 1992, Neural Computation 4, 720).
    uncertain = np.sqrt(1.0 + math.pi * deviation * deviation / 8.0)
    bits = expected_outcome(advantage / uncertain, np.zeros_like(advantage), model.tie)[0]
    if model.siblings is None or len(bits) < 2:
        order = np.argsort(-bits, kind="stable")
        return order, bits[order]
    return _greedy(model.siblings, model.tie, advantage, uncertain, first, second, bits)


def _greedy(
    effects: ResponseEffects,
    tie: float,
    advantage: Array,
    uncertain: Array,
    first: Indices,
    second: Indices,
    bits: Array,
) -> tuple[Indices, Array]:
    size = int(max(first.max(), second.max())) + 1
    covariance = np.eye(size) * effects.variance
    scaled = effects.scale * advantage
    touched = np.zeros(size, dtype=bool)
    left = np.ones(len(bits), dtype=bool)
    order, values = [], []
    current, limit = bits.copy(), np.inf
    for _ in range(len(bits)):
        pair = int(np.argmax(np.where(left, current, -1.0)))
        left[pair] = False
        limit = min(limit, float(current[pair]))
        order.append(pair)
        values.append(limit)
        # The verdict reduces the variance of its two responses' effects equally, whatever it is.
        reach = covariance[first[pair]] - covariance[second[pair]]
        spread = float(reach[first[pair]] - reach[second[pair]])
        decay = math.exp(-abs(float(scaled[pair])) / math.sqrt(1.0 + math.pi * spread / 8.0))
        curvature = decay / (1.0 + decay) ** 2
        covariance -= np.outer(reach, reach) * (curvature / (1.0 + curvature * spread))
        touched[[first[pair], second[pair]]] = True
        near = left & (touched[first] | touched[second])
        if near.any():
            x, y = first[near], second[near]
            variance = covariance[x, x] + covariance[y, y] - 2.0 * covariance[x, y]
            shrinkage = np.sqrt(1.0 + math.pi * np.maximum(variance, 0.0) / 8.0)
            mean = effects.slope * scaled[near] / shrinkage
            # The variance that the verdicts remove is the variance of the advantage's posterior mean.
            moved = effects.slope * np.sqrt(np.maximum(2.0 * effects.variance - variance, 0.0)) / shrinkage
            expected = expected_outcome(mean / uncertain[near], moved / uncertain[near], tie)[0]
            current[near] = np.minimum(bits[near], expected)
    return np.array(order, dtype=np.intp), np.array(values)
