"""Drift: detects that a model's competency changed at some time, as when its checkpoint was swapped.

For each model and each time bucket, a Bayes factor compares a change of competency at that time with no change. Where
it is large, the counts before the change are assigned to a separate *former* model. They still inform the competencies
of its rivals, while the *present* model starts from the prior again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from karma.ranking.common_change import CommonChange
from karma_scoring.fit.benchmarks import fit_with_benchmarks
from karma_scoring.fit.changes.change_evidence import move_factors
from karma_scoring.fit.changes.common_change import FewModels, common_changes
from karma_scoring.fit.competency import Posterior, Prior, centering
from karma_scoring.fit.evidence import Evidence
from karma_scoring.fit.likelihood import Array, Counts, Indices, score_and_information
from karma_scoring.fit.time_buckets import bucket_at

#: Separates a former model's name from the bucket in which it ended. No pool file accepts a name that contains it.
MARK = "#"
#: Log Bayes factor from which on a model counts as changed.
CERTAIN = 9.0

# Among buckets whose log Bayes factors differ by no more than this, the latest counts: ignoring a few verdicts of the
# present model harms less than counting some of the former one.
_AS_LIKELY = 1.0

#: Times at which the strongest suspects are compared with a common change. A cause that is not named as one can make a
#: hundred models suspects, nearly all at the same few times.
_MOST_TIMES = 6


@dataclass(frozen=True)
class Change:
    """A model's competency was different before `bucket`."""

    model: str
    bucket: int
    log_bayes_factor: float

    @property
    def former(self) -> str:
        """The name of the model before the change."""
        return f"{self.model}{MARK}{self.bucket}"


@dataclass(frozen=True, eq=False)
class DriftFit:
    """A posterior that includes former models, and the changes that it accounts for."""

    posterior: Posterior
    changes: tuple[Change, ...]
    counts: Counts  # of the posterior's models
    common: tuple[CommonChange, ...]  # in the order of time


def fit_with_drift(
    evidence: Evidence,
    parents: Mapping[str, str],
    z_scores: Mapping[str, float],
    start: Posterior | None = None,
    known: Sequence[CommonChange] = (),
) -> DriftFit:
    """Fit the competencies; refit as long as the evidence shows that a model changed.

    Each round splits one model, the one with the largest Bayes factor: a model that improves makes its rivals seem to
    get worse.

    Args:
        evidence: the counts.
        parents: child → parent.
        z_scores: mean standard score in benchmarks, by model (`benchmarks.mean_z_scores`).
        start: an earlier posterior, from which the search begins.
        known: common changes that earlier refits found.
    """
    detected: list[Change] = []
    while True:
        first = _earliest_names(evidence.models)
        prior = Prior(parents={first[child]: first[parent] for child, parent in parents.items() if parent in first})
        scores = {name: z_scores[present(name)] for name in evidence.models if present(name) in z_scores}
        start, _slope = fit_with_benchmarks(evidence.counts, evidence.models, evidence.skills, prior, scores, start)
        common = common_changes(evidence, start)
        strongest = _own_change(_since_last(evidence, common), start, bool(known or common))
        if strongest is None:
            return DriftFit(start, tuple(detected), evidence.counts, tuple(common))
        detected.append(strongest)
        evidence = split_at(evidence, strongest)


def _own_change(evidence: Evidence, posterior: Posterior, known: bool) -> Change | None:
    """The most likely change of a model that is certain and explains more than a common change does."""
    suspects = [change for change in changes(evidence, posterior) if change.log_bayes_factor >= CERTAIN]
    if not suspects:
        return None
    few, times = FewModels(evidence, posterior), set[int]()
    for change in suspects:
        if change.bucket in times or len(times) < _MOST_TIMES:
            times.add(change.bucket)
            if few.explain(change.bucket, known):
                return change
            known = True  # it is as probable as a change of this model
    return None


def _since_last(evidence: Evidence, common: Sequence[CommonChange]) -> Evidence:
    """The evidence since the last common change: a change of one model is sought there only."""
    if not common:
        return evidence
    kept, counts = evidence.bucket >= bucket_at(common[-1].at), evidence.counts
    columns = ("skill", "first", "second", "wins_first", "wins_second", "ties")
    source = None if counts.source is None else counts.source[kept]
    part = replace(counts, source=source, **{name: getattr(counts, name)[kept] for name in columns})
    return replace(evidence, counts=part, bucket=evidence.bucket[kept])


def present(name: str) -> str:
    """The model's name without the mark of a former model."""
    return name.split(MARK, 1)[0]


def former_until(name: str) -> float:
    """The bucket in which a former model ended; infinite for a present one."""
    _, mark, bucket = name.partition(MARK)
    return float(bucket) if mark else float("inf")


def last_changes(names: Iterable[str]) -> dict[str, int]:
    """Model → bucket of its last change, for the models that have a former one among the names."""
    last: dict[str, int] = {}
    for name in names:
        model, mark, bucket = name.partition(MARK)
        if mark:
            last[model] = max(int(bucket), last.get(model, 0))
    return last


def changes(evidence: Evidence, posterior: Posterior) -> list[Change]:
    """The most likely change of each present model, if any is likely; the largest Bayes factor first.

    Verdicts are compared with the posterior's predictions. With G the sum of the scores ∂ log P / ∂ d of a model's
    verdicts in a skill and I their Fisher information, G/I estimates the model's deviation from its posterior mean. The
    difference of these estimates after and before a bucket has the variance V = 1/I_after + 1/I_before without a
    change, and additionally the variance of the move with one. The Bayes factor is the ratio of the densities
    N(0, diag(V + δ²) + α² 11ᵀ) and N(0, diag V) over the skills. That both sets of verdicts were used in the posterior
    has no effect, since only the difference counts. Rivals are fixed at their posterior means.

    Args:
        evidence: the counts.
        posterior: fitted to them.
    """
    buckets, index = np.unique(evidence.bucket, return_inverse=True)
    if len(buckets) < 2:
        return []
    scores, informations = _scores(evidence, posterior, index, len(buckets))
    factors = _log_bayes_factors(scores, informations)  # [M, B]: a change at the start of the bucket
    likely = []
    for column, model in enumerate(evidence.models):
        largest = float(factors[column].max())
        if MARK not in model and largest > 0.0:
            latest = np.flatnonzero(factors[column] >= largest - _AS_LIKELY)[-1]
            likely.append(Change(model, int(buckets[latest]), largest))
    return sorted(likely, key=lambda change: (-change.log_bayes_factor, change.model))


def split_at(evidence: Evidence, change: Change) -> Evidence:
    """The evidence with the model's counts before the change assigned to the former model."""
    old, new = evidence.models.index(change.model), len(evidence.models)
    before = evidence.bucket < change.bucket
    first = np.where(before & (evidence.counts.first == old), new, evidence.counts.first)
    second = np.where(before & (evidence.counts.second == old), new, evidence.counts.second)
    counts = replace(evidence.counts, first=first, second=second)
    return replace(evidence, counts=counts, models=(*evidence.models, change.former))


def without_former(posterior: Posterior) -> Posterior:
    """The posterior of the present models alone, centered over them."""
    kept = [column for column, model in enumerate(posterior.models) if MARK not in model]
    if len(kept) == len(posterior.models):
        return posterior
    columns = [*kept, len(posterior.models)]  # and the unseen model
    center = centering(len(kept))
    covariance = posterior.covariance[:, columns][:, :, columns]
    return replace(
        posterior,
        models=tuple(posterior.models[column] for column in kept),
        alpha=posterior.alpha[columns],
        alpha_variance=posterior.alpha_variance[columns],
        delta=posterior.delta[:, columns],
        mean=posterior.mean[:, columns] @ center.T,
        covariance=center @ covariance @ center.T,
        comparisons=posterior.comparisons[:, columns][:, :, columns],
    )


def _earliest_names(names: Sequence[str]) -> dict[str, str]:
    """Model → the name of its earliest form: a child was made from its parent before either changed."""
    earliest: dict[str, str] = {}
    for name in sorted(names, key=former_until):
        earliest.setdefault(present(name), name)
    return earliest


def _scores(evidence: Evidence, posterior: Posterior, bucket: Indices, buckets: int) -> tuple[Array, Array]:
    """Scores and Fisher information of each model's verdicts, [M, S+1, B]; row 0 is for prompts without a skill."""
    counts = evidence.counts
    theta = np.concatenate([posterior.alpha[None, :], posterior.alpha + posterior.delta])
    score, information = score_and_information(counts, theta, posterior.log_tie, posterior.scale)
    shape = (len(evidence.models), len(evidence.skills) + 1, buckets)

    def summed(of_first: Array, of_second: Array) -> Array:
        total = np.zeros(int(np.prod(shape)))
        for column, values in ((counts.first, of_first), (counts.second, of_second)):
            cell = np.ravel_multi_index((column, counts.skill + 1, bucket), shape)
            total += np.bincount(cell, weights=values, minlength=len(total))
        return total.reshape(shape)

    return summed(score, -score), summed(information, information)


def _log_bayes_factors(scores: Array, informations: Array) -> Array:
    """Log Bayes factors of a change at the start of each bucket, [M, S+1, B] → [M, B]."""
    before, information = np.cumsum(scores, axis=2) - scores, np.cumsum(informations, axis=2) - informations
    after = scores.sum(axis=2, keepdims=True) - before
    rest = np.maximum(informations.sum(axis=2, keepdims=True) - information, 0.0)
    total = np.maximum(information + rest, 1e-12)
    precision = information * rest / total  # 1/V; 0 where one side has no verdict
    difference = (after * information - before * rest) / total  # of the estimates, times that precision
    return move_factors(difference, precision, axis=1)
