"""What a verdict on each of a prompt's pairs would be worth, in bits."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from karma.ranking.information import outcome as expected_outcome
from karma.ranking.outcome_model import OutcomeModel, Siblings

Array = NDArray[np.float64]
Indices = NDArray[np.intp]


def expected_information(
    model: OutcomeModel, advantage: Array, deviation: Array, first: Indices, second: Indices
) -> tuple[Indices, Array]:
    """The order in which a prompt's pairs are worth judging, and what each tells beyond those before it, bits.

    Greedy: the most informative pair is next; the uncertainty about its two responses' own effects is then lowered as
    its verdict will lower it (a rank-one update of the Gaussian, Sherman & Morrison 1950), so that pairs which that
    verdict decides as well come later. Where nothing is known about siblings, it is the order of information.

    Args:
        model: the outcome model.
        advantage: η, logits, [n].
        deviation: standard deviation of η from the competencies, logits, [n].
        first: the place of response a among the prompt's responses, [n].
        second: of response b, [n].

    Returns:
        Places of pairs [n], and information of the pair at each of these ranks [n], never rising.
    """
    bits = expected_outcome(advantage, deviation, model.tie)[0]
    if model.siblings is None or len(bits) < 2:
        order = np.argsort(-bits, kind="stable")
        return order, bits[order]
    return _greedy(model.siblings, model.tie, advantage, deviation, first, second, bits)


def _greedy(
    siblings: Siblings,
    tie: float,
    advantage: Array,
    deviation: Array,
    first: Indices,
    second: Indices,
    bits: Array,
) -> tuple[Indices, Array]:
    size = int(max(first.max(), second.max())) + 1
    covariance = np.eye(size) * siblings.variance
    scaled = siblings.scale * advantage
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
        # What the verdict will tell about the effects of its two responses, whichever way it goes.
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
            gained = 2.0 * siblings.variance - variance  # of the effects' variance: how far the advantage may move
            certain = siblings.slope * scaled[near] / np.sqrt(1.0 + math.pi * np.maximum(variance, 0.0) / 8.0)
            spread_after = (
                siblings.slope
                * np.sqrt(np.maximum(gained, 0.0))
                / np.sqrt(1.0 + math.pi * np.maximum(variance, 0.0) / 8.0)
            )
            current[near] = np.minimum(
                bits[near], expected_outcome(certain, np.hypot(spread_after, deviation[near]), tie)[0]
            )
    return np.array(order, dtype=np.intp), np.array(values)
