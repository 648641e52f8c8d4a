"""The weights of a jury's judges, by expectation and maximization over their verdicts on the same pairs.

After Dawid & Skene (1979, Applied Statistics 28, 20–28): which response is better is not known, and neither is how
often each judge is right; each is estimated from the other in turn. What is estimated of a judge is the log-odds of the
label given its verdict, `scale` times its logit plus `offset` for the response shown first, so that hard and soft
judges enter alike. The density of a judge's logits is left free: a logistic regression of the label on the verdict then
is the maximum of the likelihood of the verdict given the label (Anderson 1972, Biometrika 59, 19–35; Prentice & Pyke
1979, Biometrika 66, 403–411). Priors make few verdicts mean equal weights.

Judges whose errors go together are discounted, in the manner of a design effect (Kish 1965, Survey Sampling, section
8.2): 1 / (1 + Σ of the correlations with the others).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from karma.ranking.jury import MOST_LOGITS, JudgeWeight, pooled
from karma_scoring.fit.judges.copies import LEAST_PAIRS, agreement, same_judges
from karma_scoring.fit.judges.votes import Flags, Votes
from karma_scoring.fit.likelihood import Array

#: Accuracy that a reference and a verifier's verdict are taken to have.
REFERENCE_ACCURACY = 0.98
#: Fewest pairs before the verdicts of a jury are weighed.
LEAST_JURY_PAIRS = 20
#: Prior mean of the log-odds that a verdict of usual size gives, a judge that is right in 73 % of pairs, and its
#: precision: that of about twenty labels. Intervals have a wider one: where verdicts say little of who is right, as
#: with two judges, the prior that keeps the weights equal is no knowledge.
_LOG_ODDS = 1.0
_PRECISION = 4.0
_INTERVAL_PRECISION = 2.0
#: Prior precision of the log-odds that an order owes to the response shown first.
_OFFSET_PRECISION = 1.0
_STEPS = 300
_CLOSE = 1e-4
#: Times that the correlations of errors are estimated anew.
_PASSES = 3
_LEAST_VARIANCE = 0.05
_Z95 = 1.959964


@dataclass(frozen=True, eq=False)
class _Fit:
    """The mode: log-odds per usual verdict and for the first position, [J] each, and E[sign of the label], [n]."""

    scale: Array
    offset: Array
    label: Array
    discount: Array  # [n, J]


def fit_jury(votes: Votes, anchors: Mapping[str, float]) -> dict[str, JudgeWeight]:
    """The weight of each judge; empty with too few pairs that two of judges, references and people looked at.

    Args:
        votes: valid verdicts.
        anchors: judges whose accuracy is given.
    """
    votes = votes.of(votes.present.sum(axis=1) + np.abs(votes.reference) >= 2.0)
    if len(votes.reference) < LEAST_JURY_PAIRS or not votes.present.any():
        return {}
    fixed = np.array([judge in anchors for judge in votes.judges])
    given = np.array([_logit(anchors.get(judge, 0.5)) for judge in votes.judges])
    same, told = same_judges(votes, fixed), _told_apart(votes, fixed)
    overlap = same * agreement(votes)[0]
    found = _em(votes, given, fixed, overlap)
    for _ in range(_PASSES if told.any() else 0):
        overlap = np.where(told, _overlap(votes, found.label, fixed), same * agreement(votes)[0])
        found = _em(votes, given, fixed, overlap, found)
    return _weights(votes, found, given, fixed, overlap)


def _logit(accuracy: float) -> float:
    return float(np.log(accuracy) - np.log1p(-accuracy))


def _evidence(votes: Votes, given: Array, fixed: Flags, scale: Array, offset: Array) -> Array:
    """The log-odds for a by each judge alone, [n, J]."""
    estimated = votes.evidence * scale + votes.first * offset
    evidence: Array = np.where(fixed, votes.side * given, np.where(votes.logit != 0.0, estimated, 0.0))
    return evidence


def _em(votes: Votes, given: Array, fixed: Flags, overlap: Array, start: _Fit | None = None) -> _Fit:
    """The penalized mode, given the correlations of errors.

    Which response is shown first is drawn, so half of the labels are that response whatever the verdicts say; this
    gives the offsets. Estimated from the labels, they would let a judge that always says "first" make it the label.
    """
    judges = len(votes.judges)
    x = votes.evidence
    heard = votes.logit != 0.0
    first = votes.first * heard
    discount = 1.0 / (1.0 + votes.present @ overlap)
    known = votes.reference * _logit(REFERENCE_ACCURACY)
    scale = np.full(judges, _LOG_ODDS) if start is None else start.scale
    offset = np.zeros(judges) if start is None else start.offset
    label = np.zeros(len(x))
    for _ in range(_STEPS):
        evidence = _evidence(votes, given, fixed, scale, offset)
        label = np.tanh((known + np.sum(discount * evidence, axis=1)) / 2.0)
        p = 1.0 / (1.0 + np.exp(-evidence))
        residual = ((1.0 + label[:, None]) / 2.0 - p) * heard
        curvature = p * (1.0 - p) * heard
        by_scale = np.sum(residual * x, axis=0) - _PRECISION * (scale - _LOG_ODDS)
        by_offset = np.sum((0.5 - p) * first, axis=0) - _OFFSET_PRECISION * offset
        h_scale = np.sum(curvature * x * x, axis=0) + _PRECISION
        h_offset = np.sum(curvature * first * first, axis=0) + _OFFSET_PRECISION
        h_both = np.sum(curvature * x * first, axis=0)
        determinant = h_scale * h_offset - h_both**2
        step = np.where(fixed, 0.0, (h_offset * by_scale - h_both * by_offset) / determinant)
        step_offset = np.where(fixed, 0.0, (h_scale * by_offset - h_both * by_scale) / determinant)
        moved = np.maximum(scale + np.clip(step, -1.0, 1.0), 0.0)
        change = max(float(np.abs(moved - scale).max()), float(np.abs(step_offset).max()))
        scale, offset = moved, offset + np.clip(step_offset, -1.0, 1.0)
        if change < _CLOSE:
            break
    return _Fit(scale, offset, label, discount)


def _told_apart(votes: Votes, fixed: Flags) -> Flags:
    """Whether references and people say of each two judges if they err together, [J, J] booleans.

    Otherwise copies stay copies: once they count as two, their agreement would make them right. And nothing else is
    discounted: with three judges any agreement can be explained by their accuracies, and what is left over is an error
    of these, which a discount would feed.
    """
    known = (votes.reference != 0.0) | np.any(votes.side[:, fixed] != 0.0, axis=1)
    sign = np.abs(np.sign(votes.logit[known]))
    told: Flags = sign.T @ sign >= LEAST_PAIRS
    return told


def _overlap(votes: Votes, label: Array, fixed: Flags) -> Array:
    """Correlation of the errors of each two judges, [J, J], at least 0; the diagonal is 0.

    Given the label z, Cov(u_j, u_k) = E[u_j u_k] − m_j m_k with m_j = E[u_j z], and E[z | verdicts] stands for z.
    """
    product, number = agreement(votes)
    sign = np.sign(votes.logit)
    right = np.sum(sign * label[:, None], axis=0) / np.maximum(np.sum(np.abs(sign), axis=0), 1.0)
    deviation = np.sqrt(np.maximum(1.0 - right**2, _LEAST_VARIANCE))
    correlation = (product - np.outer(right, right)) / np.outer(deviation, deviation)
    said = (number >= LEAST_PAIRS) & (correlation > 2.0 / np.sqrt(np.maximum(number, 1.0)))
    said &= ~(fixed[:, None] | fixed[None, :])
    np.fill_diagonal(said, False)
    return np.where(said, np.clip(correlation, 0.0, 1.0), 0.0)


def _weights(votes: Votes, found: _Fit, given: Array, fixed: Flags, overlap: Array) -> dict[str, JudgeWeight]:
    evidence = _evidence(votes, given, fixed, found.scale, found.offset)
    number = votes.present.sum(axis=0)
    accuracy, error = _accuracy(votes, found, evidence, fixed)
    counts = 1.0 / (1.0 + overlap.sum(axis=0))
    added = pooled(np.where(fixed, _probability(given), accuracy).tolist(), counts.tolist())
    said = np.abs(evidence).sum(axis=0) / np.maximum(number, 1.0) * counts * added
    share = said / max(float(said.sum()), 1e-12)
    scale = np.where(fixed, given / MOST_LOGITS, found.scale / votes.magnitude)
    weights = {}
    for index, judge in enumerate(votes.judges):
        if not number[index]:
            continue
        sided = int(np.count_nonzero(votes.logit[:, index]))
        p = float(accuracy[index])
        half = _Z95 * float(error[index]) / max(p * (1.0 - p), 1e-9)
        is_known = sided > 0 and not fixed[index]
        weights[judge] = JudgeWeight(
            scale=float(scale[index]),
            offset=float(found.offset[index]),
            center=0.0 if fixed[index] else float(votes.center[index]),
            usual=MOST_LOGITS if fixed[index] else float(votes.magnitude[index]),
            weight=float(share[index]),
            pairs=int(number[index]),
            sided=sided,
            accuracy=p if is_known else float(_probability(given[index])) if fixed[index] else None,
            low=float(_probability(_logit(p) - half)) if is_known else None,
            high=float(_probability(_logit(p) + half)) if is_known else None,
            position_bias=_known(votes.position_bias[index]),
            tie_rate=_known(votes.tie_rate[index]),
            flip_rate=_known(votes.flip_rate[index]),
            overlap={
                other: round(float(overlap[index, place]), 4)
                for place, other in enumerate(votes.judges)
                if overlap[index, place] > 0.0
            },
            is_anchor=bool(fixed[index]),
        )
    return weights


def _accuracy(votes: Votes, found: _Fit, evidence: Array, fixed: Flags) -> tuple[Array, Array]:
    """P(the response it prefers is the better one) of each judge, [J], and its standard error.

    The information of all parameters is the sum of the outer products of the pairs' scores (Berndt et al. 1974, Annals
    of Economic and Social Measurement 3, 653–665), each the expectation of the score if the label were known (Fisher's
    identity; Louis 1982, JRSS B 44, 226–233), and the prior's precision. It contains what is unknown about the labels.
    """
    judges = len(votes.judges)
    x, heard = votes.evidence, (votes.logit != 0.0) & ~fixed
    p = 1.0 / (1.0 + np.exp(-evidence))
    residual = ((1.0 + found.label[:, None]) / 2.0 - p) * heard
    score = np.hstack([residual * x, residual * votes.first])
    precision = np.concatenate([np.full(judges, _INTERVAL_PRECISION), np.full(judges, _OFFSET_PRECISION)])
    covariance = np.linalg.inv(score.T @ score + np.diag(precision))
    sign = np.sign(votes.logit)
    sided = np.maximum(np.abs(sign).sum(axis=0), 1.0)
    right = 1.0 / (1.0 + np.exp(-sign * evidence))
    accuracy = np.clip(np.sum(right * np.abs(sign), axis=0) / sided, 1e-6, 1.0 - 1e-6)
    slope = right * (1.0 - right) * sign
    by_scale, by_offset = np.sum(slope * x, axis=0) / sided, np.sum(slope * votes.first, axis=0) / sided
    error = np.zeros(judges)
    for judge in range(judges):
        gradient = np.zeros(2 * judges)
        gradient[judge], gradient[judges + judge] = by_scale[judge], by_offset[judge]
        error[judge] = np.sqrt(max(0.0, float(gradient @ covariance @ gradient)))
    return accuracy, error


def _probability(log_odds: Array | float) -> Array:
    return np.asarray(1.0 / (1.0 + np.exp(-np.asarray(log_odds))), dtype=np.float64)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
