"""Drift: finding out that a model is no longer the one that it was, as when its checkpoint was swapped.

For each model and each moment the refit asks whether the verdicts since tell of another competency than those before.
Where the evidence is strong, the counts before the moment are put down to a model of their own, the *former* one:
it still tells how good its rivals are, and the present one starts afresh.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from karma_scoring.fit.competency import Posterior
from karma_scoring.fit.davidson import Array, Indices
from karma_scoring.fit.evidence import Evidence

#: What stands between a former model's name and the bucket in which it ended. No pool file can name a model so.
MARK = "#"
#: Log Bayes factor from which on a model is taken to have changed.
CERTAIN = 9.0

# Of moments whose log Bayes factors differ by no more, the latest is taken: a verdict too few harms less than one too
# many, of the former model.
_AS_LIKELY = 1.0

# How far a model moves when it changes: standard deviations in logits, of all its skills together and of each.
_MOVE_TOGETHER = 1.0
_MOVE_EACH = 0.5


@dataclass(frozen=True)
class Change:
    """A model's competency was another before `bucket`."""

    model: str
    bucket: int
    log_bayes_factor: float

    @property
    def former(self) -> str:
        """The name of the model that it was before."""
        return f"{self.model}{MARK}{self.bucket}"


def present(name: str) -> str:
    """The model's name, of the present one as of a former one."""
    return name.split(MARK, 1)[0]


def former_until(name: str) -> float:
    """The bucket in which a former model ended; infinite for a present one."""
    _, mark, bucket = name.partition(MARK)
    return float(bucket) if mark else float("inf")


def changes(seen: Evidence, posterior: Posterior) -> list[Change]:
    """The moment at which each present model most likely changed, where any is likely; the strongest evidence first.

    Verdicts are compared with what the posterior expects of them. With G the sum of the scores ∂ log P / ∂ d of a
    model's verdicts in a skill and I their Fisher information, G/I estimates how far it is from its posterior mean. The
    difference of the estimates after and before a moment has the variance V = 1/I + 1/I, plus the move's own where
    there was one: N(0, diag V) against N(0, diag(V + δ²) + α² 11ᵀ) over the skills, whose ratio is the Bayes factor. It
    does not matter that both verdicts went into the posterior, as only their contrast counts; rivals are taken at
    their posterior means.

    Args:
        seen: the counts.
        posterior: of a fit to them.
    """
    buckets, place = np.unique(seen.bucket, return_inverse=True)
    if len(buckets) < 2:
        return []
    scores, informations = _scores(seen, posterior, place, len(buckets))
    factors = _log_bayes_factors(scores, informations)  # [M, B]: the change came with the bucket
    found = []
    for column, model in enumerate(seen.models):
        greatest = float(factors[column].max())
        if MARK not in model and greatest > 0.0:
            moment = np.flatnonzero(factors[column] >= greatest - _AS_LIKELY)[-1]
            found.append(Change(model, int(buckets[moment]), greatest))
    return sorted(found, key=lambda change: (-change.log_bayes_factor, change.model))


def put_down_to_former(seen: Evidence, change: Change) -> Evidence:
    """The evidence with the model's counts before the change under the former model's name."""
    old, new = seen.models.index(change.model), len(seen.models)
    before = seen.bucket < change.bucket
    first = np.where(before & (seen.counts.first == old), new, seen.counts.first)
    second = np.where(before & (seen.counts.second == old), new, seen.counts.second)
    counts = replace(seen.counts, first=first, second=second)
    return replace(seen, counts=counts, models=(*seen.models, change.former))


def without_former(posterior: Posterior) -> Posterior:
    """The posterior of the present models alone, centred over them."""
    kept = [column for column, model in enumerate(posterior.models) if MARK not in model]
    if len(kept) == len(posterior.models):
        return posterior
    columns = [*kept, len(posterior.models)]  # and the unseen
    average = np.append(np.full(len(kept), 1.0 / max(1, len(kept))), 0.0)
    centre = np.eye(len(columns)) - average[None, :]
    covariance = posterior.covariance[:, columns][:, :, columns]
    return replace(
        posterior,
        models=tuple(posterior.models[column] for column in kept),
        alpha=posterior.alpha[columns],
        delta=posterior.delta[:, columns],
        mean=posterior.mean[:, columns] @ centre.T,
        covariance=centre @ covariance @ centre.T,
        comparisons=posterior.comparisons[:, columns][:, :, columns],
    )


def _scores(seen: Evidence, posterior: Posterior, place: Indices, number: int) -> tuple[Array, Array]:
    """Scores and Fisher information of each model's verdicts, [M, S+1, B]; skill 0 is that of prompts without one."""
    counts, models, rows = seen.counts, len(seen.models), len(seen.skills) + 1
    theta = np.concatenate([posterior.alpha[None, :], posterior.alpha + posterior.delta])
    gap = theta[counts.skill + 1, counts.first] - theta[counts.skill + 1, counts.second]
    decay = np.exp(-0.5 * np.abs(gap))
    square = decay * decay
    z = 1.0 + square + np.exp(posterior.log_tie) * decay
    slope = np.sign(gap) * (1.0 - square) / (2.0 * z)  # as in `davidson.derivatives`
    verdicts = counts.wins_first + counts.wins_second + counts.ties
    score = 0.5 * (counts.wins_first - counts.wins_second) - verdicts * slope
    information = verdicts * ((1.0 + square) / (4.0 * z) - slope * slope)
    shape = (models, rows, number)

    def summed(of_first: Array, of_second: Array) -> Array:
        total = np.zeros(int(np.prod(shape)))
        for column, values in ((counts.first, of_first), (counts.second, of_second)):
            where = np.ravel_multi_index((column, counts.skill + 1, place), shape)
            total += np.bincount(where, weights=values, minlength=len(total))
        return total.reshape(shape)

    return summed(score, -score), summed(information, information)


def _log_bayes_factors(scores: Array, informations: Array) -> Array:
    """Log Bayes factors of a change that came with each bucket, [M, S+1, B] → [M, B]."""
    before, information = np.cumsum(scores, axis=2) - scores, np.cumsum(informations, axis=2) - informations
    after = scores.sum(axis=2, keepdims=True) - before
    rest = np.maximum(informations.sum(axis=2, keepdims=True) - information, 0.0)
    total = np.maximum(information + rest, 1e-12)
    precision = information * rest / total  # 1/V; 0 where one side has no verdict
    contrast = (after * information - before * rest) / total  # difference of the estimates times that precision
    spread = 1.0 + _MOVE_EACH**2 * precision
    weight, shift = (precision / spread).sum(axis=1), (contrast / spread).sum(axis=1)
    together = 1.0 + _MOVE_TOGETHER**2 * weight
    fit = (contrast**2 * _MOVE_EACH**2 / spread).sum(axis=1) + _MOVE_TOGETHER**2 * shift**2 / together
    factors: Array = 0.5 * (fit - np.log(spread).sum(axis=1) - np.log(together))
    return factors
