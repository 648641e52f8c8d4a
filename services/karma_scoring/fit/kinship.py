"""Kinship and the information of a comparison: from a posterior to the snapshot that all others look up."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from karma.ranking.information import normal_cdf, outcome
from karma.ranking.snapshot import Snapshot
from karma_scoring.fit.benchmarks import z_scores
from karma_scoring.fit.competency import Posterior

Array = NDArray[np.float64]

#: No benchmark is given with the pool.
NO_SCORES: Mapping[str, Mapping[str, float]] = {}

#: A kinship is unknown while the gap's deviation is above this share of its deviation before any verdict.
_UNKNOWN_ABOVE = 0.5


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


def score_vectors(posterior: Posterior, benchmarks: Mapping[str, Mapping[str, float]]) -> Array:
    """What cosine kinship compares, [M+1, d]: benchmarks where the pool gives them, else competencies over skills.

    Of benchmarks, the standard scores in all those that every model with any benchmark has; of competencies, their
    means over the skills. Both are centred over the pool. A model without benchmarks, or of which verdicts tell too
    little, is nan; so are all where d would be below 2, as there is no direction in one dimension.
    """
    scores = z_scores(benchmarks)
    shared = sorted(set.intersection(*(set(each) for each in scores.values()))) if scores else []
    number = len(posterior.models)
    if len(shared) >= 2:
        vectors = np.full((number + 1, len(shared)), np.nan)
        for column, model in enumerate(posterior.models):
            if model in scores:
                vectors[column] = [scores[model][name] for name in shared]
        return vectors
    if len(posterior.skills) < 2:
        return np.full((number + 1, 1), np.nan)
    deviation = np.sqrt(np.maximum(np.diagonal(posterior.covariance[0]), 0.0))
    known = deviation <= _UNKNOWN_ABOVE * posterior.unseen_deviation[0]
    known[number] = False
    competencies: Array = np.where(known[:, None], posterior.mean[1:].T, np.nan)
    return competencies


def snapshot(
    posterior: Posterior, version: int, epsilon: float = 0.4, benchmarks: Mapping[str, Mapping[str, float]] = NO_SCORES
) -> Snapshot:
    """The tables that planning, matching and the gate look up.

    Kinship is nan (unknown) where the verdicts have not yet halved the deviation that the gap had before any of them:
    the prior alone makes nobody kin. A child of a known parent is known from the start.

    Args:
        posterior: of M models and S skills.
        version: number of the refit.
        epsilon: half-width of kinship, logits.
        benchmarks: model → benchmark → score, given with the pool.
    """
    unseen = len(posterior.models)
    tie = float(np.exp(posterior.log_tie))
    variance = np.diagonal(posterior.covariance, axis1=1, axis2=2)
    gap_variance = variance[:, :, None] + variance[:, None, :] - 2.0 * posterior.covariance
    own = np.arange(unseen)
    gap_variance[:, own, own] = 0.0
    gap_variance[:, unseen, unseen] = 2.0 * posterior.unseen_deviation**2  # of two different unseen models
    gap_deviation = np.sqrt(np.maximum(gap_variance, 0.0))
    gap = posterior.mean[:, :, None] - posterior.mean[:, None, :]

    above, right = np.triu_indices(unseen + 1)
    bits, wins = outcome(gap[:, above, right], gap_deviation[:, above, right], tie)
    information_table, win_table = np.empty_like(gap), np.empty_like(gap)
    information_table[:, above, right] = information_table[:, right, above] = bits
    win_table[:, right, above] = 1.0 - wins
    win_table[:, above, right] = wins
    kinship = posterior_kinship(gap, gap_deviation, epsilon)
    unknown = gap_deviation > _UNKNOWN_ABOVE * gap_deviation[:, unseen, unseen, None, None]
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
        cosine=cosine_kinship(score_vectors(posterior, benchmarks)),
    )
