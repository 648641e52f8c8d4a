"""Competency: the posterior of each model's strength in each skill, given verdict counts.

θ[m, s] = α[m] + δ[m, s] under the likelihood of `likelihood`. α and δ have Gaussian priors. δ is shrunk to zero, so a
skill with few verdicts is close to the model's other skills. The log posterior is concave, so Newton's method finds its
only maximum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from karma.ranking.verdict_sources import scale_of
from karma_scoring.fit.connectedness import groups
from karma_scoring.fit.group_means import with_group_means
from karma_scoring.fit.likelihood import Array, Counts, Tables, bordered, derivatives, log_likelihood, tables_of
from karma_scoring.fit.newton import Curvature, Point, mode

__all__ = ["Counts", "Posterior", "Prior", "fit"]

_MAX_SCALES = 5
_SAME_SCALE = 0.002  # far below the deviation of any gap


@dataclass(frozen=True)
class Prior:
    """The prior of the competencies. Deviations are standard deviations in logits."""

    alpha_deviation: float = 1.4  # of α, between models; with δ, a competency has 1.5
    own_deviations: Mapping[str, float] = field(default_factory=dict)  # of α by model (`prior_scale`), where learned
    group_deviation: float = 1.4  # of the means of groups (`connectedness`); 0: all groups have one mean
    delta_deviation: float = 0.5  # of δ, between the skills of one model
    mean: Mapping[str, float] = field(default_factory=dict)  # of α by model (from benchmarks); 0 where absent
    parents: Mapping[str, str] = field(default_factory=dict)  # child → parent; a parent outside the pool is ignored
    child_alpha_deviation: float = 0.5  # of α_child − α_parent
    child_delta_deviation: float = 0.25  # of δ_child − δ_parent
    #: Of log ν of each source: a fifth of the verdicts take no side at equal competency.
    log_tie_mean: float = float(np.log(0.5))
    log_tie_deviation: float = 1.0


@dataclass(frozen=True, eq=False)
class Posterior:
    """The competencies of M models in S skills: the Laplace approximation, a Gaussian around the mode.

    Rows: 0 is the overall competency, 1+s is `skills[s]`. Columns: the M models, then an unseen model, which has only
    the prior. Values are centered: in each row the means of the M models add up to 0.
    """

    models: tuple[str, ...]
    skills: tuple[str, ...]
    alpha: Array  # [M+1] mode, not centered
    alpha_variance: Array  # [M+1] not centered
    delta: Array  # [S, M+1]
    sources: tuple[str, ...]  # of verdicts, K
    log_tie: Array  # log ν by source, [K]
    scale: Array  # logits of decisive outcomes per logit of competency, by source, [K]
    shares: Array  # of the sources in the comparisons of each row, [1+S, K]
    mean: Array  # [1+S, M+1]
    covariance: Array  # [1+S, M+1, M+1]
    unseen_deviation: Array  # [1+S] prior standard deviation of a competency, before centering
    comparisons: Array  # [1+S, M+1, M+1] effective counts; row 0 counts all prompts, with a skill or without
    prior: Prior  # that it was fitted under
    steps: int  # Newton steps


def fit(
    counts: Counts, models: Sequence[str], skills: Sequence[str], prior: Prior, start: Posterior | None = None
) -> Posterior:
    """The posterior of the competencies given the counts.

    The mode is found by Newton's method (`newton`). Covariances come from the inverse Hessian at the mode (Laplace's
    method; MacKay 2003, chapter 27).

    The overall competency is α + Σ_s w_s δ_s, where w_s is the share of skill s in all comparisons, judged or not
    (`Counts.weight`): the competency of a model averaged over the skills that were observed. Prompts without a skill
    contribute to α alone.

    A source's scale depends on its ν (`verdict_sources.scale_of`). It is held fixed while the mode is searched, which
    keeps the log posterior concave; then it is that of the ν found, until it hardly changes.

    Args:
        counts: verdicts; comparisons of a model with itself are left out.
        models: M names, the columns.
        skills: S names.
        prior: see `Prior`.
        start: an earlier posterior, possibly of other models and skills, from which the search begins.

    Raises:
        ValueError: the parents form a cycle, or an index is out of range.
    """
    point = _start(counts.sources, models, skills, prior, start)
    problem = _problem(counts, models, skills, prior, _scales(counts.sources, point.log_tie))
    steps = 0
    for _ in range(_MAX_SCALES):
        point, taken = mode(problem, point)
        steps += taken
        scale = _scales(counts.sources, point.log_tie)
        if np.abs(scale - problem.tables.scale).max() < _SAME_SCALE:
            break
        problem = replace(problem, tables=replace(problem.tables, scale=scale))
    return _posterior(models, skills, point, problem, counts.sources, steps)


def _scales(sources: Sequence[str], log_tie: Array) -> Array:
    return np.array([scale_of(name, tie) for name, tie in zip(sources, np.exp(log_tie).tolist(), strict=True)])


@dataclass(frozen=True, eq=False)
class _Problem:
    """Counts and Gaussian priors. A prior is a precision matrix and, for α, also precision × mean."""

    tables: Tables
    alpha_precision: Array
    alpha_shift: Array
    delta_precision: Array
    prior: Prior
    skill_weight: Array  # [1+S]

    def log_posterior(self, at: Point) -> float:
        tie = (at.log_tie - self.prior.log_tie_mean) / self.prior.log_tie_deviation
        density = at.alpha @ self.alpha_shift - 0.5 * (at.alpha @ self.alpha_precision @ at.alpha) - 0.5 * (tie @ tie)
        density -= 0.5 * np.sum((at.delta @ self.delta_precision) * at.delta)
        return log_likelihood(at.theta(), at.log_tie, self.tables) + float(density)

    def curvature(self, at: Point) -> Curvature:
        slopes = derivatives(at.theta(), at.log_tie, self.tables)
        tie_precision = self.prior.log_tie_deviation**-2.0
        alpha_curvature = slopes.laplacian.sum(axis=0) + self.alpha_precision
        d_alpha = slopes.theta.sum(axis=0) + self.alpha_shift - self.alpha_precision @ at.alpha
        d_tie = slopes.log_tie - (at.log_tie - self.prior.log_tie_mean) * tie_precision
        return Curvature(
            head=bordered(alpha_curvature, slopes.cross.sum(axis=0), np.diag(slopes.log_tie_curvature + tie_precision)),
            border=np.concatenate([slopes.laplacian[1:], slopes.cross[1:]], axis=2),
            block=slopes.laplacian[1:] + self.delta_precision,
            head_gradient=np.append(d_alpha, d_tie),
            block_gradient=slopes.theta[1:] - at.delta @ self.delta_precision,
        )


def _problem(counts: Counts, models: Sequence[str], skills: Sequence[str], prior: Prior, scale: Array) -> _Problem:
    columns = {model: column for column, model in enumerate(models)}
    size = len(models) + 1  # the unseen model has no parent and no counts
    differences = np.eye(size)  # maps α and δ to quantities that are independent a priori: child − parent, or the root
    child = np.zeros(size, dtype=bool)
    mean = np.zeros(size)
    for model, column in columns.items():
        parent = prior.parents.get(model)
        if parent in columns:
            _refuse_cycle(model, prior.parents)
            differences[column, columns[parent]] = -1.0
            child[column] = True
        else:
            mean[column] = prior.mean.get(model, 0.0)
    own = np.array(
        [*(prior.own_deviations.get(model, prior.alpha_deviation) for model in models), prior.alpha_deviation]
    )
    alpha_weight = np.where(child, prior.child_alpha_deviation, own) ** -2.0
    delta_weight = np.where(child, prior.child_delta_deviation, prior.delta_deviation) ** -2.0
    tables = tables_of(counts, len(models), len(skills), scale)
    kept = {model: parent for model, parent in prior.parents.items() if {model, parent} <= columns.keys()}
    related = [(columns[model], columns[parent]) for model, parent in kept.items()]
    precision, shift = with_group_means(
        differences.T @ (alpha_weight[:, None] * differences),
        differences.T @ (alpha_weight * mean),
        groups(tables.number.sum(axis=0), related) if prior.group_deviation > 0.0 else [],
        prior.group_deviation,
    )
    return _Problem(
        tables=tables,
        alpha_precision=precision,
        alpha_shift=shift,
        delta_precision=differences.T @ (delta_weight[:, None] * differences),
        prior=prior,
        skill_weight=tables.by_row(tables.number.sum(axis=(1, 2))) if counts.weight is None else counts.weight,
    )


def _refuse_cycle(model: str, parents: Mapping[str, str]) -> None:
    line = [model]
    while (parent := parents.get(line[-1])) is not None:
        if parent in line:
            raise ValueError(f"the parents form a cycle: {' → '.join([*line, parent])}. Remove one `parent` of these")
        line.append(parent)


def _start(
    sources: Sequence[str], models: Sequence[str], skills: Sequence[str], prior: Prior, start: Posterior | None
) -> Point:
    alpha, delta = np.zeros(len(models) + 1), np.zeros((len(skills), len(models) + 1))
    log_tie = np.full(len(sources), prior.log_tie_mean)
    if start is None:
        return Point(alpha, delta, log_tie)
    known = {model: column for column, model in enumerate(start.models)}
    new = [column for column, model in enumerate(models) if model in known]
    old = [known[models[column]] for column in new]
    alpha[new] = start.alpha[old]
    rows = {skill: row for row, skill in enumerate(start.skills)}
    for row, skill in enumerate(skills):
        if skill in rows:
            delta[row, new] = start.delta[rows[skill], old]
    ties = dict(zip(start.sources, start.log_tie.tolist(), strict=True))
    return Point(alpha, delta, np.array([ties.get(source, prior.log_tie_mean) for source in sources]))


def centering(models: int) -> Array:
    """The matrix that subtracts the mean over M models from each of them and from the unseen model, [M+1, M+1]."""
    center = np.eye(models + 1)
    center[:, :models] -= 1.0 / max(models, 1)
    return center


def _posterior(
    models: Sequence[str],
    skills: Sequence[str],
    point: Point,
    problem: _Problem,
    sources: Sequence[str],
    steps: int,
) -> Posterior:
    """Means and covariances of every row, from the arrow-shaped Hessian, centered over the M models.

    Given the head h, δ_s is Gaussian around −F_s h with covariance C_s⁻¹, where C_s is its block and F_s = C_s⁻¹ B_s.
    So a row α + Σ_s w_s δ_s has the covariance G V Gᵀ + Σ_s w_s² C_s⁻¹, with G = [I 0] − Σ_s w_s F_s and V the
    covariance of the head.
    """
    size = len(point.alpha)
    curvature = problem.curvature(point)
    inverse = np.linalg.inv(curvature.block)
    shift = inverse @ curvature.border
    schur = curvature.head - (curvature.border.transpose(0, 2, 1) @ shift).sum(axis=0)
    tables = problem.tables
    number = tables.by_row(tables.number)
    share = problem.skill_weight[1:] / max(float(problem.skill_weight.sum()), 1e-12)
    weights = np.concatenate([share[None, :], np.eye(len(skills))])  # [1+S, S]

    gain = np.eye(size, size + len(sources)) - np.tensordot(weights, shift, axes=1)
    head = np.linalg.inv(schur)
    covariance = gain @ head @ gain.transpose(0, 2, 1) + np.tensordot(weights**2, inverse, axes=1)
    center = centering(len(models))
    return Posterior(
        models=tuple(models),
        skills=tuple(skills),
        alpha=point.alpha,
        alpha_variance=np.diagonal(head)[:size].copy(),
        delta=point.delta,
        sources=tuple(sources),
        log_tie=point.log_tie,
        scale=tables.scale,
        shares=_shares(tables, len(sources)),
        mean=(point.alpha + weights @ point.delta) @ center.T,
        covariance=center @ covariance @ center.T,
        unseen_deviation=np.sqrt(covariance[:, -1, -1]),
        comparisons=np.concatenate([number.sum(axis=0, keepdims=True), number[1:]]),
        prior=problem.prior,
        steps=steps,
    )


def _shares(tables: Tables, sources: int) -> Array:
    """The shares of the sources in each row; a row without verdicts has those of all rows."""
    numbers = np.zeros((tables.rows, sources))
    numbers[tables.row, tables.source] = tables.number.sum(axis=(1, 2))
    numbers[0] = numbers.sum(axis=0) if numbers.any() else 1.0
    numbers = np.where(numbers.any(axis=1, keepdims=True), numbers, numbers[0])
    return np.asarray(numbers / numbers.sum(axis=1, keepdims=True))
