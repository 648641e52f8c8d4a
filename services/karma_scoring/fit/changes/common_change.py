"""Common changes: detects that all competencies seemed to change at once, as when the judge or the topic does.

A judge that separates models better makes every gap larger. Another mix of unlabelled topics moves every model a
little. Neither is a change of a model. For a time bucket, Bayes factors (`change_evidence`) compare with no change: one
factor on all gaps; a move of every model; and a move of few models. The common cause is named where it explains the
verdicts better than few models do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from karma.ranking.common_change import CommonChange, Kind
from karma_scoring.fit.changes.change_evidence import (
    MOVE_DEVIATIONS,
    SCALE_DEVIATION,
    Rows,
    competencies,
    difference_at,
    rows_of,
    scalar_series,
)
from karma_scoring.fit.competency import Posterior
from karma_scoring.fit.evidence import Evidence
from karma_scoring.fit.likelihood import Array
from karma_scoring.fit.time_buckets import BUCKET_S, bucket_at

#: Log Bayes factor from which on a common change is named, as for that of a model.
CERTAIN = 9.0

# How much better than a change of few models a common one must explain the verdicts to be named, and how much better a
# change of few must explain them to be held against a model, as differences of log Bayes factors: for many models, and
# for three, of which a common change and a change of one can hardly be told apart. Between the two nothing is said; of
# three models, one is held to have changed.
_COMMON_MARGIN: dict[Kind, float] = {"mixture": 1.0, "scale": 3.0}
_COMMON_MARGIN_FEW = 10.0
_FEW_MARGIN, _FEW_MARGIN_FEW = 4.5, -9.0
#: Added for many models to the latter where a common change is known of the stream: another is then more probable.
_KNOWN_MARGIN = 4.0

#: Common changes that are sought, and that are remembered.
_MOST = 8
#: Two times that are nearer than this share of their age, or so many seconds, are of one change.
_NEAR_SHARE, _NEAR_S = 0.25, 10.0 * BUCKET_S


def common_changes(evidence: Evidence, posterior: Posterior) -> list[CommonChange]:
    """The common changes in the order of time; each is sought after the one before it.

    Args:
        evidence: the counts.
        posterior: fitted to them.
    """
    rows = rows_of(evidence, posterior)
    theta = competencies(posterior, rows.models)
    found: list[CommonChange] = []
    while len(found) < _MOST:
        change = _strongest(rows, theta)
        if change is None:
            break
        found.append(change)
        rows = rows.since(bucket_at(change.at))
    return found


def with_new(
    known: Sequence[CommonChange], found: Sequence[CommonChange], now: float
) -> tuple[tuple[CommonChange, ...], list[CommonChange]]:
    """The known common changes with those that were found, newest last, and those of them that are new.

    As buckets become wider, the time of a change moves; one that is near a known one, for its age, is the same.
    """
    new = [
        change
        for change in found
        if all(abs(change.at - other.at) > max(_NEAR_SHARE * (now - change.at), _NEAR_S) for other in known)
    ]
    return tuple(sorted((*known, *new), key=lambda change: change.at)[-_MOST:]), new


def _strongest(rows: Rows, theta: Array) -> CommonChange | None:
    """The most likely common change, if it is certain and no change of few models explains it."""
    found: list[CommonChange] = []
    for bucket in _candidates(rows):
        difference = difference_at(rows, bucket, theta)
        factors: dict[Kind, float] = {"scale": difference.scaled(), "mixture": difference.mixed()}
        kind = max(factors, key=lambda name: factors[name])
        least = difference.few() + _margin(_COMMON_MARGIN[kind], _COMMON_MARGIN_FEW, difference.compared)
        if factors[kind] >= max(CERTAIN, least):
            found.append(CommonChange(bucket * BUCKET_S, kind, factors[kind]))
    return max(found, key=lambda change: change.log_bayes_factor, default=None)


class FewModels:
    """Tells whether few models explain a change, or a common cause. Each bucket is compared once: that takes long."""

    def __init__(self, evidence: Evidence, posterior: Posterior) -> None:
        """The evidence of one fit.

        Args:
            evidence: the counts, or a later part of them.
            posterior: fitted to all of them.
        """
        self._rows = rows_of(evidence, posterior)
        self._theta = competencies(posterior, self._rows.models)
        self._compared: dict[int, tuple[float, int]] = {}  # bucket → few less common, models compared

    def explain(self, bucket: int, known: bool) -> bool:
        """Whether a change of few models explains the verdicts around a bucket better than a common change does.

        Args:
            bucket: the start of the change.
            known: whether a common change is known of the stream, which makes another more probable.
        """
        if bucket not in self._compared:
            found = difference_at(self._rows, bucket, self._theta)
            self._compared[bucket] = found.few() - max(found.scaled(), found.mixed()), found.compared
        better, models = self._compared[bucket]
        return better >= _margin(_FEW_MARGIN + known * _KNOWN_MARGIN, _FEW_MARGIN_FEW, models)


def _margin(many: float, few: float, models: int) -> float:
    """A least difference of log Bayes factors, between `many` models and `few`."""
    return many + (few - many) * 2.0 / max(models - 1, 2)


def _candidates(rows: Rows) -> list[int]:
    """The buckets at which an approximate Bayes factor of a common change is largest, if any is positive."""
    buckets, index = np.unique(rows.bucket, return_inverse=True)
    if len(buckets) < 2:
        return []

    def series(of_row: Array) -> Array:
        return np.bincount(index, weights=of_row, minlength=len(buckets)).astype(np.float64)

    scale = scalar_series(series(rows.score * rows.gap), series(rows.information * rows.gap**2), SCALE_DEVIATION)
    cells = rows.models * len(buckets)
    scores, informations = np.zeros(cells), np.zeros(cells)
    for column, sign in ((rows.first, 1.0), (rows.second, -1.0)):
        cell = column * len(buckets) + index
        scores += np.bincount(cell, weights=sign * rows.score, minlength=cells)
        informations += np.bincount(cell, weights=rows.information, minlength=cells)
    by_model = (scores.reshape(rows.models, -1), informations.reshape(rows.models, -1))
    moves = np.max([scalar_series(*by_model, deviation).sum(axis=0) for deviation in MOVE_DEVIATIONS], axis=0)
    chosen = {int(np.argmax(factors)) for factors in (scale, moves) if factors.max() >= CERTAIN / 2.0}
    return [int(buckets[place]) for place in sorted(chosen)]
