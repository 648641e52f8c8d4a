"""Pair residuals: finds pairs of models whose verdicts one competency per model cannot explain.

The score of a pair, half of wins minus losses, is compared with its expectation at the mode. A residual is standardized
by its variance under the model, V − V Var(d) V: V is the Fisher information of the pair's verdicts on its gap d, and
Var(d) the posterior variance of that gap, since the fit follows each pair by its leverage V Var(d) (Pregibon 1981,
Annals of Statistics 9, 705–724). Pairs are tested by Holm's method (1979, Scandinavian Journal of Statistics 6, 65–70).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from karma.ranking.davidson import win_given_decisive
from karma.ranking.misfit import MisfitPair, PairFit
from karma_scoring.fit.changes.drift import MARK
from karma_scoring.fit.competency import Posterior
from karma_scoring.fit.likelihood import Array, Counts, Indices, score_and_information

#: Probability that a refit calls any pair a misfit where all verdicts follow the model. It is small because a stream is
#: tested at every refit.
_FAMILY_ERROR = 0.001
#: A pair is tested from so much of the rarer expected outcome on; a normal distribution is too light-tailed before.
_LEAST_EXPECTED = 5.0
#: A pair that the fit follows more closely than this says nothing about the model.
_MOST_LEVERAGE = 0.9
#: Smallest misfit, logits of the win share: half the width of kinship. Less is found in any real data, and harmless.
_LEAST_MISFIT = 0.4
#: Degrees of freedom of the goodness-of-fit test; three models have nearly one.
_LEAST_FREEDOM = 0.5


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Sums over the skills of each tested pair of present models, all of shape [n]."""

    first: Indices
    second: Indices
    residual: Array  # of the score
    information: Array
    leverage: Array
    wins: Array  # of `first`
    losses: Array
    expected_wins: Array  # given the number of decisive verdicts

    @property
    def z(self) -> Array:
        """Standardized residuals."""
        z: Array = self.residual / np.sqrt(self.information * (1.0 - self.leverage))
        return z


def pair_fit(counts: Counts, posterior: Posterior) -> PairFit:
    """How well the competencies explain the verdicts on each two present models.

    Args:
        counts: to which the posterior was fitted, former models included.
        posterior: the competencies.
    """
    pairs = _pairs(counts, posterior)
    if not len(pairs.first):
        return PairFit()
    z = pairs.z
    decisive = pairs.wins + pairs.losses
    observed = (pairs.wins + 0.5) / (decisive + 1.0)  # of Haldane (1956), so that its logit is finite
    expected = (pairs.expected_wins + 0.5) / (decisive + 1.0)
    excess = _logit(observed) - _logit(expected)
    found = np.flatnonzero(_holm(z) & (np.abs(excess) >= _LEAST_MISFIT))
    found = found[np.argsort(-np.abs(z[found]))]
    return PairFit(
        tuple(
            MisfitPair(
                posterior.models[int(pairs.first[pair])],
                posterior.models[int(pairs.second[pair])],
                float(pairs.wins[pair] / decisive[pair]),
                float(pairs.expected_wins[pair] / decisive[pair]),
                float(z[pair]),
                float(excess[pair]),
            )
            for pair in found.tolist()
        ),
        _p_value(float(np.sum(z * z * (1.0 - pairs.leverage))), float(np.sum(1.0 - pairs.leverage))),
    )


def _pairs(counts: Counts, posterior: Posterior) -> _Pairs:
    models = len(posterior.models)
    theta = np.concatenate([posterior.alpha[None, :], posterior.alpha + posterior.delta])
    score, information = score_and_information(counts, theta, posterior.log_tie, posterior.scale)
    low, high = np.minimum(counts.first, counts.second), np.maximum(counts.first, counts.second)
    sign = np.where(counts.first == low, 1.0, -1.0)
    pair, number = low * models + high, models * models
    scale = posterior.scale[0 if counts.source is None else counts.source]
    gap = scale * (theta[counts.skill + 1, low] - theta[counts.skill + 1, high])
    wins = np.where(counts.first == low, counts.wins_first, counts.wins_second)
    decisive = counts.wins_first + counts.wins_second

    def total(values: Array) -> Array:
        return np.bincount(pair, weights=values, minlength=number).astype(np.float64)

    residual, precision = total(sign * score), total(information)
    won, compared, expected = total(wins), total(decisive), total(decisive * win_given_decisive(gap))
    former = np.array([MARK in model for model in posterior.models], dtype=bool)
    one, other = np.divmod(np.arange(number), models)
    rarer = np.minimum(expected, compared - expected)
    leverage = _leverage(counts, information, pair, posterior, precision)
    tested = (one < other) & ~former[one] & ~former[other] & (rarer >= _LEAST_EXPECTED) & (leverage <= _MOST_LEVERAGE)
    kept = np.flatnonzero(tested)
    return _Pairs(
        one[kept],
        other[kept],
        *(values[kept] for values in (residual, precision, leverage, won, compared - won, expected)),
    )


def _leverage(counts: Counts, information: Array, pair: Indices, posterior: Posterior, total: Array) -> Array:
    """Σ_s V_s² Var(d_s) / Σ_s V_s of each pair, [M²]: its share of the score's variance that the fit takes up.

    Covariances between the gaps in two skills are left out. They are positive, as skills share α, so the test errs on
    the safe side.
    """
    models = len(posterior.models)
    covariance = posterior.covariance[:, :models, :models]
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    gap_variance = variance[:, :, None] + variance[:, None, :] - 2.0 * covariance
    size = models * models
    by_skill = np.bincount((counts.skill + 1) * size + pair, weights=information, minlength=size * len(covariance))
    by_skill = by_skill.reshape(len(covariance), size)
    taken = np.sum(by_skill**2 * gap_variance.reshape(len(covariance), size), axis=0)
    return np.asarray(taken / np.maximum(total, 1e-12), dtype=np.float64)


def _holm(z: Array) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which two-sided tests are rejected."""
    p = np.array([math.erfc(abs(value) / math.sqrt(2.0)) for value in z])
    order = np.argsort(p)
    passes = p[order] <= _FAMILY_ERROR / (len(p) - np.arange(len(p)))
    rejected = np.zeros(len(p), dtype=np.bool_)
    rejected[order[: len(p) if passes.all() else int(np.argmin(passes))]] = True
    return rejected


def _p_value(chi_square: float, freedom: float) -> float | None:
    """P(χ² is as large or larger), by the cube root of Wilson & Hilferty (1931, PNAS 17, 684–688).

    The residuals' variances add up to the degrees of freedom, of which fitted parameters have taken their share.
    """
    if freedom < _LEAST_FREEDOM:
        return None
    spread = 2.0 / (9.0 * freedom)
    deviations = ((chi_square / freedom) ** (1.0 / 3.0) - (1.0 - spread)) / math.sqrt(spread)
    return 0.5 * math.erfc(deviations / math.sqrt(2.0))


def _logit(share: Array) -> Array:
    return np.asarray(np.log(share) - np.log1p(-share), dtype=np.float64)
