"""The expected information of a comparison: one definition for planning, matching and the judge budget.

A comparison is between two models (or two responses) whose competency gap has a Gaussian posterior.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from karma.ranking.davidson import Array

_NODES = 15  # of the Gauss–Hermite rule
_CHUNK = 4096  # gaps at once: keeps the work arrays of the quadrature in the cache


def normal_cdf(x: Array) -> Array:
    """The standard normal distribution function, with an absolute error below 1e-7.

    Abramowitz & Stegun (1964), formula 7.1.26 for erf (|error| ≤ 1.5e-7), halved by Φ(x) = (1 + erf(x/√2)) / 2.
    """
    absolute = np.abs(x) / np.sqrt(2.0)
    t = 1.0 / (1.0 + 0.3275911 * absolute)
    polynomial = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    erf = 1.0 - polynomial * np.exp(-absolute * absolute)
    probability: Array = 0.5 * (1.0 + np.sign(x) * erf)
    return probability


def outcome(gap: Array, gap_deviation: Array, tie: float) -> tuple[Array, Array, Array]:
    """Expected information of a comparison in bits, the win probability and P(decisive), all in the shape of `gap`.

    The information is E[P(decisive) × H(win | decisive)]. P and H follow Davidson's model (`davidson`) at the true gap;
    the expectation is over its Gaussian posterior. At any deviation it is largest for a mean gap of 0. The win
    probability is posterior predictive: P(i beats j | decisive) = E[P(i wins)] / E[P(decisive)].

    All are computed by the Gauss–Hermite rule with 15 nodes (Abramowitz & Stegun 1964, formula 25.4.46).

    Args:
        gap: posterior means of θ_i − θ_j, logits, any shape.
        gap_deviation: posterior standard deviations, same shape.
        tie: Davidson's ν.
    """
    nodes, weights = _rule()
    mean, deviation = np.broadcast_arrays(gap, gap_deviation)
    flat_mean, flat_deviation = mean.ravel(), deviation.ravel()
    bits, wins, decisive = (np.empty(flat_mean.shape) for _ in range(3))
    for begin in range(0, len(flat_mean), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        at_nodes = _at(flat_mean[part] + nodes[:, None] * flat_deviation[part], tie)
        bits[part], won, decisive[part] = (weights @ table for table in at_nodes)
        wins[part] = won / decisive[part]
    return bits.reshape(mean.shape), wins.reshape(mean.shape), decisive.reshape(mean.shape)


@cache
def _rule() -> tuple[Array, Array]:
    """Nodes and weights; the weights add up to 1."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    return nodes, weights / weights.sum()


def _at(gap: Array, tie: float) -> tuple[Array, Array, Array]:
    """(P(decisive) × H in bits, P(i wins), P(decisive)) at given gaps."""
    absolute = np.abs(gap)
    decay = np.exp(-0.5 * absolute)  # factored out of numerator and z, so that nothing overflows
    square = decay * decay
    decisive = (1.0 + square) / (1.0 + square + tie * decay)
    weaker = square / (1.0 + square)  # P(the weaker model wins | decisive)
    entropy = (np.log1p(square) + weaker * absolute) / np.log(2.0)
    return decisive * entropy, decisive * np.where(gap >= 0.0, 1.0 - weaker, weaker), decisive
