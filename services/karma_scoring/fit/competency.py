"""Competency: the posterior of each model's strength in each skill, given verdict counts.

θ[m, s] = α[m] + δ[m, s] under the likelihood of `likelihood`. α and δ have Gaussian priors. δ is shrunk to zero, so a
skill with few verdicts is close to the model's other skills. The log posterior is concave, so Newton's method finds its
only maximum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from karma_scoring.fit.connectedness import groups, with_group_means
from karma_scoring.fit.likelihood import Array, Counts, Tables, bordered, derivatives, log_likelihood, tables_of

__all__ = ["Counts", "Posterior", "Prior", "fit"]

_MAX_STEPS = 60
_DECREMENT = 1e-10  # of the log posterior: far below the contribution of one verdict
_ARMIJO = 1e-4  # sufficient increase, Nocedal & Wright (2006), section 3.1


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
    log_tie_mean: float = float(np.log(0.5))  # of log ν: a fifth of the verdicts are ties at equal competency
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
    log_tie: float
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

    The mode is found by Newton steps with a backtracking line search. A step eliminates each skill's block by a Schur
    complement (Boyd & Vandenberghe 2004, appendix C.4), so it costs one M × M factorization per skill. Covariances come
    from the inverse Hessian at the mode (Laplace's method; MacKay 2003, chapter 27).

    The overall competency is α + Σ_s w_s δ_s, where w_s is the share of skill s in all comparisons, judged or not
    (`Counts.weight`): the competency of a model averaged over the skills that were observed. Prompts without a skill
    contribute to α alone.

    Args:
        counts: verdicts; comparisons of a model with itself are left out.
        models: M names, the columns.
        skills: S names.
        prior: see `Prior`.
        start: an earlier posterior, possibly of other models and skills, from which the search begins.

    Raises:
        ValueError: the parents form a cycle, or an index is out of range.
    """
    problem = _problem(counts, models, skills, prior)
    point = _start(models, skills, prior, start)
    value = problem.log_posterior(point)
    steps = 0
    while steps < _MAX_STEPS:
        curvature = problem.curvature(point)
        direction = _newton_direction(curvature)
        decrement = float(
            curvature.head_gradient @ np.append(direction.alpha, direction.log_tie)
            + np.sum(curvature.block_gradient * direction.delta)
        )
        if decrement < _DECREMENT:
            break
        size = 1.0
        while size > 1e-8 and problem.log_posterior(point.moved(direction, size)) < value + _ARMIJO * size * decrement:
            size /= 2.0
        if size <= 1e-8:
            break  # no measurable increase is left: the mode to within rounding
        point = point.moved(direction, size)
        value = problem.log_posterior(point)
        steps += 1
    return _posterior(models, skills, point, problem, steps)


@dataclass(frozen=True, eq=False)
class _Point:
    """Values of all parameters, or a direction in parameter space."""

    alpha: Array  # [M+1]
    delta: Array  # [S, M+1]
    log_tie: float

    def theta(self) -> Array:
        """Row 0 is the competency for prompts without a skill."""
        return np.concatenate([self.alpha[None, :], self.alpha + self.delta])

    def moved(self, direction: _Point, size: float) -> _Point:
        return _Point(
            self.alpha + size * direction.alpha,
            self.delta + size * direction.delta,
            self.log_tie + size * direction.log_tie,
        )


@dataclass(frozen=True, eq=False)
class _Curvature:
    """Gradient and negated Hessian of the log posterior, in blocks: the head (α, log ν), then each skill's δ."""

    head: Array  # [M+2, M+2]
    border: Array  # [S, M+1, M+2]
    block: Array  # [S, M+1, M+1]
    head_gradient: Array  # [M+2]
    block_gradient: Array  # [S, M+1]


@dataclass(frozen=True, eq=False)
class _Problem:
    """Counts and Gaussian priors. A prior is a precision matrix and, for α, also precision × mean."""

    tables: Tables
    alpha_precision: Array
    alpha_shift: Array
    delta_precision: Array
    prior: Prior
    skill_weight: Array  # [1+S]

    def log_posterior(self, at: _Point) -> float:
        tie = (at.log_tie - self.prior.log_tie_mean) / self.prior.log_tie_deviation
        density = at.alpha @ self.alpha_shift - 0.5 * (at.alpha @ self.alpha_precision @ at.alpha) - 0.5 * tie * tie
        density -= 0.5 * np.sum((at.delta @ self.delta_precision) * at.delta)
        return log_likelihood(at.theta(), at.log_tie, self.tables) + float(density)

    def curvature(self, at: _Point) -> _Curvature:
        slopes = derivatives(at.theta(), at.log_tie, self.tables)
        tie_precision = self.prior.log_tie_deviation**-2.0
        alpha_curvature = slopes.laplacian.sum(axis=0) + self.alpha_precision
        d_alpha = slopes.theta.sum(axis=0) + self.alpha_shift - self.alpha_precision @ at.alpha
        d_tie = slopes.log_tie - (at.log_tie - self.prior.log_tie_mean) * tie_precision
        return _Curvature(
            head=bordered(alpha_curvature, slopes.cross.sum(axis=0), slopes.log_tie_curvature + tie_precision),
            border=np.concatenate([slopes.laplacian[1:], slopes.cross[1:, :, None]], axis=2),
            block=slopes.laplacian[1:] + self.delta_precision,
            head_gradient=np.append(d_alpha, d_tie),
            block_gradient=slopes.theta[1:] - at.delta @ self.delta_precision,
        )


def _problem(counts: Counts, models: Sequence[str], skills: Sequence[str], prior: Prior) -> _Problem:
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
    tables = tables_of(counts, len(models), len(skills))
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
        skill_weight=tables.number.sum(axis=(1, 2)) if counts.weight is None else counts.weight,
    )


def _refuse_cycle(model: str, parents: Mapping[str, str]) -> None:
    line = [model]
    while (parent := parents.get(line[-1])) is not None:
        if parent in line:
            raise ValueError(f"the parents form a cycle: {' → '.join([*line, parent])}. Remove one `parent` of these")
        line.append(parent)


def _start(models: Sequence[str], skills: Sequence[str], prior: Prior, start: Posterior | None) -> _Point:
    alpha, delta = np.zeros(len(models) + 1), np.zeros((len(skills), len(models) + 1))
    if start is None:
        return _Point(alpha, delta, prior.log_tie_mean)
    known = {model: column for column, model in enumerate(start.models)}
    new = [column for column, model in enumerate(models) if model in known]
    old = [known[models[column]] for column in new]
    alpha[new] = start.alpha[old]
    rows = {skill: row for row, skill in enumerate(start.skills)}
    for row, skill in enumerate(skills):
        if skill in rows:
            delta[row, new] = start.delta[rows[skill], old]
    return _Point(alpha, delta, start.log_tie)


def _newton_direction(curvature: _Curvature) -> _Point:
    sides = np.concatenate([curvature.border, curvature.block_gradient[:, :, None]], axis=2)
    solved = np.linalg.solve(curvature.block, sides)
    eliminated = (curvature.border.transpose(0, 2, 1) @ solved).sum(axis=0)
    schur = curvature.head - eliminated[:, :-1]
    head = np.linalg.solve(schur, curvature.head_gradient - eliminated[:, -1])
    return _Point(head[:-1], solved[:, :, -1] - solved[:, :, :-1] @ head, float(head[-1]))


def centering(models: int) -> Array:
    """The matrix that subtracts the mean over M models from each of them and from the unseen model, [M+1, M+1]."""
    center = np.eye(models + 1)
    center[:, :models] -= 1.0 / max(models, 1)
    return center


def _posterior(models: Sequence[str], skills: Sequence[str], point: _Point, problem: _Problem, steps: int) -> Posterior:
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
    number = problem.tables.number
    share = problem.skill_weight[1:] / max(float(problem.skill_weight.sum()), 1e-12)
    weights = np.concatenate([share[None, :], np.eye(len(skills))])  # [1+S, S]

    gain = np.eye(size, size + 1) - np.tensordot(weights, shift, axes=1)
    head = np.linalg.inv(schur)
    covariance = gain @ head @ gain.transpose(0, 2, 1) + np.tensordot(weights**2, inverse, axes=1)
    center = centering(len(models))
    return Posterior(
        models=tuple(models),
        skills=tuple(skills),
        alpha=point.alpha,
        alpha_variance=np.diagonal(head)[:size].copy(),
        delta=point.delta,
        log_tie=point.log_tie,
        mean=(point.alpha + weights @ point.delta) @ center.T,
        covariance=center @ covariance @ center.T,
        unseen_deviation=np.sqrt(covariance[:, -1, -1]),
        comparisons=np.concatenate([number.sum(axis=0, keepdims=True), number[1:]]),
        prior=problem.prior,
        steps=steps,
    )
