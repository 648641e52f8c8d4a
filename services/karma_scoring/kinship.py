"""Kinship and the information of a comparison: from a posterior to the snapshot that all others look up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from karma.snapshot import Snapshot
from karma_scoring.competency import Posterior

Array = NDArray[np.float64]

_NODES = 15  # of the Gauss–Hermite rule
#: A kinship is unknown while the gap's deviation is above this share of its deviation before any verdict.
_UNKNOWN_ABOVE = 0.5
_CHUNK = 65_536  # gaps at once: keeps the work arrays of the quadrature in the cache


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


def posterior_kinship(gap: Array, gap_deviation: Array, epsilon: float = 0.4) -> Array:
    """P(|θ_i − θ_j| < ε) under a Gaussian posterior of the gap, in [0, 1].

    Args:
        gap: posterior means of θ_i − θ_j, logits, any shape.
        gap_deviation: posterior standard deviations, same shape; 0 means the gap is known exactly.
        epsilon: logits; 0.4 means that neither beats the other more often than 60 : 40 among decisive outcomes.
    """
    deviation = np.maximum(gap_deviation, 1e-9)
    inside = normal_cdf((epsilon - gap) / deviation) - normal_cdf((-epsilon - gap) / deviation)
    return np.clip(inside, 0.0, 1.0)


def cosine_kinship(vectors: Array) -> Array:
    """Cosine similarity of the models' vectors of scores, the paper's baseline (arXiv 2502.18744), [M, d] → [M, M].

    Opposite directions count as no kinship (0). A vector of zeros, or one with a nan, has no direction: nan.
    """
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = vectors / np.where(norms > 0.0, norms, np.nan)
    return np.clip(units @ units.T, 0.0, 1.0)


def information(gap: Array, gap_deviation: Array, tie: float) -> Array:
    """Expected information of a comparison, E[P(decisive) × H(win | decisive)], in bits.

    P and H are Davidson's (see `davidson`) at the true gap; the expectation is over its Gaussian posterior. It is
    greatest at a mean gap of 0 for any one deviation.

    Args:
        gap: posterior means of θ_i − θ_j, logits, any shape.
        gap_deviation: posterior standard deviations, same shape.
        tie: Davidson's ν.
    """
    return _outcome(gap, gap_deviation, tie)[0]


def win_probability(gap: Array, gap_deviation: Array, tie: float) -> Array:
    """Posterior predictive P(i beats j | decisive) = E[P(i wins)] / E[P(decisive)], same shape as `gap`."""
    return _outcome(gap, gap_deviation, tie)[1]


def _outcome(gap: Array, gap_deviation: Array, tie: float) -> tuple[Array, Array]:
    """Information and win probability by the Gauss–Hermite rule (Abramowitz & Stegun 1964, formula 25.4.46)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    weights = weights / weights.sum()
    mean, deviation = np.broadcast_arrays(gap, gap_deviation)
    flat_mean, flat_deviation = mean.ravel(), deviation.ravel()
    bits, wins = np.empty(flat_mean.shape), np.empty(flat_mean.shape)
    for begin in range(0, len(flat_mean), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        total = np.zeros((3, len(flat_mean[part])))
        for node, weight in zip(nodes, weights, strict=True):
            total += weight * _at(flat_mean[part] + node * flat_deviation[part], tie)
        bits[part], wins[part] = total[0], total[1] / total[2]
    return bits.reshape(mean.shape), wins.reshape(mean.shape)


def _at(gap: Array, tie: float) -> Array:
    """[P(decisive) × H in bits, P(i wins), P(decisive)] at known gaps."""
    absolute = np.abs(gap)
    decay = np.exp(-0.5 * absolute)  # factored out of numerator and z, so that nothing overflows
    square = decay * decay
    decisive = (1.0 + square) / (1.0 + square + tie * decay)
    loser = square / (1.0 + square)  # the weaker model's chance among decisive outcomes
    entropy = (np.log1p(square) + loser * absolute) / np.log(2.0)
    return np.stack([decisive * entropy, decisive * np.where(gap >= 0.0, 1.0 - loser, loser), decisive])


def snapshot(posterior: Posterior, version: int, epsilon: float = 0.4) -> Snapshot:
    """The tables that planning, matching and the gate look up.

    Kinship is nan (unknown) where the verdicts have not yet halved the deviation that the gap had before any of them:
    the prior alone makes nobody kin. A child of a known parent is known from the start.

    Args:
        posterior: of M models and S skills.
        version: number of the refit.
        epsilon: half-width of kinship, logits.
    """
    newcomer = len(posterior.models)
    tie = float(np.exp(posterior.log_tie))
    variance = np.diagonal(posterior.covariance, axis1=1, axis2=2)
    gap_variance = variance[:, :, None] + variance[:, None, :] - 2.0 * posterior.covariance
    own = np.arange(newcomer)
    gap_variance[:, own, own] = 0.0
    gap_variance[:, newcomer, newcomer] = 2.0 * posterior.newcomer_deviation**2  # of two different newcomers
    gap_deviation = np.sqrt(np.maximum(gap_variance, 0.0))
    gap = posterior.mean[:, :, None] - posterior.mean[:, None, :]

    above, right = np.triu_indices(newcomer + 1)
    bits, wins = _outcome(gap[:, above, right], gap_deviation[:, above, right], tie)
    information_table, win_table = np.empty_like(gap), np.empty_like(gap)
    information_table[:, above, right] = information_table[:, right, above] = bits
    win_table[:, right, above] = 1.0 - wins
    win_table[:, above, right] = wins
    kinship = posterior_kinship(gap, gap_deviation, epsilon)
    unknown = gap_deviation > _UNKNOWN_ABOVE * gap_deviation[:, newcomer, newcomer, None, None]
    return Snapshot(
        version=version,
        models=posterior.models,
        skills=posterior.skills,
        mean=posterior.mean,
        deviation=np.sqrt(np.maximum(variance, 0.0)),
        gap_deviation=gap_deviation,
        kinship=np.where(unknown, np.nan, kinship),
        information=information_table,
        win=win_table,
        comparisons=posterior.comparisons,
        tie=tie,
        epsilon=epsilon,
    )
