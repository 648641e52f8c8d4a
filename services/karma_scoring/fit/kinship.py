"""Kinship and expected information: derives the snapshot's tables from a posterior."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from karma.ranking.information import normal_cdf, outcome
from karma.ranking.misfit import PairFit
from karma.ranking.snapshot import Snapshot
from karma.ranking.verdict_sources import VerdictSource, mean_tie
from karma_scoring.fit.benchmarks import z_scores
from karma_scoring.fit.competency import Posterior
from karma_scoring.fit.likelihood import Array

#: Half-width of kinship, logits: neither model wins more than 60 % of decisive outcomes.
EPSILON = 0.4

#: Least probability that a model wins: no verdicts make that impossible, and snapshots are stored in single precision,
#: in which 1 − 1e-8 is 1.
_LEAST_WIN = 1e-6
_LEAST_BITS = 1e-9  # for the same reason

#: A kinship is unknown while the gap's posterior deviation exceeds this share of its prior deviation.
_UNKNOWN_ABOVE = 0.5


def posterior_kinship(gap: Array, gap_deviation: Array, epsilon: float = EPSILON) -> Array:
    """P(|θ_i − θ_j| < ε) under a Gaussian posterior of the gap, in [0, 1].

    Args:
        gap: posterior means of θ_i − θ_j, logits, any shape.
        gap_deviation: posterior standard deviations, same shape; 0 where the gap is certain.
        epsilon: logits.
    """
    deviation = np.maximum(gap_deviation, 1e-9)
    inside = normal_cdf((epsilon - gap) / deviation) - normal_cdf((-epsilon - gap) / deviation)
    return np.clip(inside, 0.0, 1.0)


def cosine_kinship(vectors: Array) -> Array:
    """Cosine similarity of the models' score vectors, the paper's baseline (arXiv 2502.18744), [M, d] → [M, M].

    Negative similarities become 0. A vector of zeros, or one that contains nan, has no direction: nan.
    """
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = vectors / np.where(norms > 0.0, norms, np.nan)
    return np.clip(units @ units.T, 0.0, 1.0)


def score_vectors(posterior: Posterior, benchmarks: Mapping[str, Mapping[str, float]]) -> Array:
    """The vectors that cosine kinship compares, [M+1, d]: benchmark scores if the pool has them, else competencies.

    Benchmark scores are the standard scores in the benchmarks that every model with any benchmark has. Competencies
    are the posterior means in each skill. Both are centered over the pool. A model without benchmarks, or with too few
    verdicts, is nan; so are all models if d would be below 2, because one dimension has no directions.
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
    return np.where(known[:, None], posterior.mean[1:].T, np.nan)


def snapshot(
    posterior: Posterior,
    version: int,
    benchmarks: Mapping[str, Mapping[str, float]] | None = None,
    pair_fit: PairFit | None = None,
) -> Snapshot:
    """The tables that planning, matching and the judge budget look up.

    Kinship is nan (unknown) until the verdicts have halved the prior deviation of the gap: the prior alone makes no
    models kin. The kinship of a child to a known parent is known from the start.

    The kinship of a misfit pair is unknown in every skill. The deviation of its gap includes the excess of its own
    verdicts over the competencies, as if that were drawn for each pair (a random effect), so that neither its outcome
    nor its information is claimed to be certain.

    Args:
        posterior: of M models and S skills.
        version: number of the refit.
        benchmarks: model → benchmark → score, from the pool file.
        pair_fit: how well the posterior explains the verdicts; None: not tested.
    """
    tested = pair_fit or PairFit()
    unseen = len(posterior.models)
    variance = np.diagonal(posterior.covariance, axis1=1, axis2=2)
    gap_variance = variance[:, :, None] + variance[:, None, :] - 2.0 * posterior.covariance
    diagonal = np.arange(unseen)
    gap_variance[:, diagonal, diagonal] = 0.0
    gap_variance[:, unseen, unseen] = 2.0 * posterior.unseen_deviation**2  # between two different unseen models
    unknown = gap_variance > _UNKNOWN_ABOVE**2 * gap_variance[:, unseen, unseen, None, None]
    for pair in tested.misfit:
        one, other = posterior.models.index(pair.model_a), posterior.models.index(pair.model_b)
        for x, y in ((one, other), (other, one)):
            gap_variance[:, x, y] += pair.excess**2
            unknown[:, x, y] = True
    gap_deviation = np.sqrt(np.maximum(gap_variance, 0.0))
    gap = posterior.mean[:, :, None] - posterior.mean[:, None, :]

    row, column = np.triu_indices(unseen + 1)
    sources = _sources(posterior)
    bits, wins = _expected(gap[:, row, column], gap_deviation[:, row, column], sources.values())
    bits, wins = np.maximum(bits, _LEAST_BITS), np.clip(wins, _LEAST_WIN, 1.0 - _LEAST_WIN)
    information_table, win_table = np.empty_like(gap), np.empty_like(gap)
    information_table[:, row, column] = information_table[:, column, row] = bits
    win_table[:, column, row] = 1.0 - wins
    win_table[:, row, column] = wins
    kinship = posterior_kinship(gap, gap_deviation)
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
        tie=mean_tie(sources.values()),
        sources=sources,
        epsilon=EPSILON,
        cosine=cosine_kinship(score_vectors(posterior, benchmarks or {})),
        pair_fit=tested,
    )


def _sources(posterior: Posterior) -> dict[str, VerdictSource]:
    values = np.exp(posterior.log_tie).tolist(), posterior.scale.tolist(), posterior.shares.T.tolist()
    return {
        name: VerdictSource(tie, scale, tuple(shares))
        for name, tie, scale, shares in zip(posterior.sources, *values, strict=True)
    }


def _expected(gap: Array, deviation: Array, sources: Collection[VerdictSource]) -> tuple[Array, Array]:
    """Expected information and win probability, [1+S, P], of a verdict from a source drawn by the shares of its row."""
    bits, won, decisive = np.zeros(gap.shape), np.zeros(gap.shape), np.zeros(gap.shape)
    for source in sources:
        share = np.array(source.shares)[:, None]
        rows = np.flatnonzero(share)
        found = outcome(source.scale * gap[rows], source.scale * deviation[rows], source.tie)
        if len(sources) == 1:
            return found[:2]
        bits[rows] += share[rows] * found[0]
        won[rows] += share[rows] * found[1] * found[2]
        decisive[rows] += share[rows] * found[2]
    return bits, won / decisive
