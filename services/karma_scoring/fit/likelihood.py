"""The likelihood of verdict counts under Davidson's model (`karma.ranking.davidson`), with its derivatives.

log P is linear in (θ, log ν) minus log z, a log-sum-exp; so it is concave.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from karma.ranking.davidson import log_z, log_z_derivatives, tie_probability

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

_UNLABELED = -1


@dataclass(frozen=True, eq=False)
class Counts:
    """Verdict counts, one row per skill and pair of models (repeats add up). All arrays have shape [n].

    Counts are real numbers: decayed by age and weighted by the inverse of their probability of being judged.
    """

    skill: Indices  # index into the skills; −1 where the prompt has none
    first: Indices  # index into the models
    second: Indices
    wins_first: Array
    wins_second: Array
    ties: Array
    #: Of all verdicts by skill, judged or not, [1+S]; row 0: prompts without a skill. None: the numbers above.
    weight: Array | None = None


@dataclass(frozen=True, eq=False)
class Tables:
    """Counts as dense tables [R, M, M] of R rows (skills) and M models; each pair is in both triangles."""

    advantage: Array  # half of: wins of the row model minus wins of the column model
    number: Array  # comparisons
    ties: float  # over all rows, each tie once


@dataclass(frozen=True, eq=False)
class Derivatives:
    """First derivatives of the log likelihood, and second derivatives negated."""

    theta: Array  # [R, M]
    log_tie: float
    laplacian: Array  # [R, M, M] in θ: a weighted graph Laplacian per row
    cross: Array  # [R, M] in θ and log ν
    log_tie_curvature: float


def tables_of(counts: Counts, models: int, skills: int) -> Tables:
    """Dense tables with 1 + `skills` rows (row 0: prompts without a skill) and one more column, for an unseen model.

    Raises:
        ValueError: an index is out of range.
    """
    if len(counts.skill):
        lowest, highest = counts.skill.min(), counts.skill.max()
        least, most = min(counts.first.min(), counts.second.min()), max(counts.first.max(), counts.second.max())
        if lowest < _UNLABELED or highest >= skills or least < 0 or most >= models:
            raise ValueError(
                f"counts name skills {lowest} to {highest} and models {least} to {most}, "
                f"but there are {skills} skills (−1 for none) and {models} models"
            )
    shape = (skills + 1, models + 1, models + 1)
    kept = counts.first != counts.second
    cell = np.ravel_multi_index((counts.skill[kept] + 1, counts.first[kept], counts.second[kept]), shape)

    def table(column: Array) -> Array:
        dense = np.bincount(cell, weights=column[kept], minlength=int(np.prod(shape)))
        return dense.astype(np.float64).reshape(shape)

    first, second, ties = table(counts.wins_first), table(counts.wins_second), table(counts.ties)
    wins = first + second.transpose(0, 2, 1)
    losses = wins.transpose(0, 2, 1)
    return Tables(
        advantage=0.5 * (wins - losses),
        number=wins + losses + ties + ties.transpose(0, 2, 1),
        ties=float(ties.sum()),
    )


def gaps(theta: Array) -> Array:
    """θ_i − θ_j for every row; [R, M] → [R, M, M]."""
    return theta[:, :, None] - theta[:, None, :]


def bordered(matrix: Array, border: Array, corner: float) -> Array:
    """The symmetric matrix with one more row and column: [n, n], [n] and a number → [n+1, n+1]."""
    return np.block([[matrix, border[:, None]], [border[None, :], np.array([[corner]])]])


def log_likelihood(theta: Array, log_tie: float, tables: Tables) -> float:
    """Log probability of the counts, up to a constant."""
    gap = gaps(theta)
    half = 0.5 * float(np.sum(tables.advantage * gap - tables.number * log_z(gap, float(np.exp(log_tie)))))
    return half + tables.ties * log_tie


def derivatives(theta: Array, log_tie: float, tables: Tables) -> Derivatives:
    """Gradient and negated Hessian of the log likelihood at (θ, log ν)."""
    gap, tie = gaps(theta), float(np.exp(log_tie))
    slope, curvature = log_z_derivatives(gap, tie)
    tied = tie_probability(gap, tie)
    weight = tables.number * curvature
    laplacian = -weight
    diagonal = np.arange(theta.shape[1])
    laplacian[:, diagonal, diagonal] += weight.sum(axis=2)
    return Derivatives(
        theta=(tables.advantage - tables.number * slope).sum(axis=2),
        log_tie=tables.ties - 0.5 * float(np.sum(tables.number * tied)),
        laplacian=laplacian,
        cross=-(tables.number * slope * tied).sum(axis=2),
        log_tie_curvature=0.5 * float(np.sum(tables.number * tied * (1.0 - tied))),
    )


def score_and_information(counts: Counts, theta: Array, log_tie: float) -> tuple[Array, Array]:
    """The score ∂ log P / ∂ d of each row of counts, with d its gap θ_first − θ_second, and its Fisher information.

    Args:
        counts: n rows.
        theta: [1+S, M]; row 0 for prompts without a skill.
        log_tie: log ν.
    """
    gap = theta[counts.skill + 1, counts.first] - theta[counts.skill + 1, counts.second]
    slope, curvature = log_z_derivatives(gap, float(np.exp(log_tie)))
    verdicts = counts.wins_first + counts.wins_second + counts.ties
    return 0.5 * (counts.wins_first - counts.wins_second) - verdicts * slope, verdicts * curvature
