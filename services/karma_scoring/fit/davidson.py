"""The Bradley–Terry likelihood with ties of Davidson (1970, JASA 65, 317–328), with its derivatives.

With the gap d = θ_i − θ_j and the tie parameter ν,

    P(i wins) = e^{d/2} / z,   P(tie) = ν / z,   P(j wins) = e^{−d/2} / z,   z = 2 cosh(d/2) + ν,

so that among decisive outcomes i wins with the logistic probability of d (Bradley & Terry 1952, Biometrika 39).
log P is linear in (θ, log ν) less a log-sum-exp, hence concave.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

_UNLABELLED = -1


@dataclass(frozen=True, eq=False)
class Counts:
    """Verdict counts, one row per skill and pair of models (repeats add up). All arrays have shape [n].

    Counts are real numbers: already decayed by age and weighted by the inverse of their probability of being judged.
    """

    skill: Indices  # index into the skills; −1 where the prompt has none
    first: Indices  # index into the models
    second: Indices
    wins_first: Array
    wins_second: Array
    ties: Array


@dataclass(frozen=True, eq=False)
class Tables:
    """Counts as dense tables [R, M, M] of R rows (skills) and M models; every pair stands in both triangles."""

    advantage: Array  # half of: wins of the row model less wins of the column model
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
    """Dense tables with 1 + `skills` rows, row 0 for prompts without a skill, and one column more for the unseen.

    Raises:
        ValueError: an index is out of range.
    """
    if len(counts.skill):
        lowest, highest = counts.skill.min(), counts.skill.max()
        least, most = min(counts.first.min(), counts.second.min()), max(counts.first.max(), counts.second.max())
        if lowest < _UNLABELLED or highest >= skills or least < 0 or most >= models:
            raise ValueError(
                f"counts name skills {lowest} to {highest} and models {least} to {most}, "
                f"but there are {skills} skills (−1 for none) and {models} models"
            )
    shape = (skills + 1, models + 1, models + 1)
    kept = counts.first != counts.second
    place = np.ravel_multi_index((counts.skill[kept] + 1, counts.first[kept], counts.second[kept]), shape)

    def table(column: Array) -> Array:
        dense: Array = (
            np.bincount(place, weights=column[kept], minlength=int(np.prod(shape))).astype(np.float64).reshape(shape)
        )
        return dense

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
    difference: Array = theta[:, :, None] - theta[:, None, :]
    return difference


def log_likelihood(theta: Array, log_tie: float, tables: Tables) -> float:
    """Log probability of the counts, up to a constant."""
    gap = gaps(theta)
    decay = np.exp(-0.5 * np.abs(gap))
    log_z = 0.5 * np.abs(gap) + np.log1p(decay * (decay + np.exp(log_tie)))
    return 0.5 * float(np.sum(tables.advantage * gap - tables.number * log_z)) + tables.ties * log_tie


def derivatives(theta: Array, log_tie: float, tables: Tables) -> Derivatives:
    """Gradient and negated Hessian at (θ, log ν), by differentiating the log probabilities above."""
    gap = gaps(theta)
    decay = np.exp(-0.5 * np.abs(gap))  # factored out of numerator and z: finite however wide the gap
    square = decay * decay
    z = 1.0 + square + np.exp(log_tie) * decay
    slope = np.sign(gap) * (1.0 - square) / (2.0 * z)  # ∂ log z / ∂ d
    tied = np.exp(log_tie) * decay / z  # P(tie) = ∂ log z / ∂ log ν
    bend = tables.number * ((1.0 + square) / (4.0 * z) - slope * slope)
    laplacian = -bend
    diagonal = np.arange(theta.shape[1])
    laplacian[:, diagonal, diagonal] += bend.sum(axis=2)
    return Derivatives(
        theta=(tables.advantage - tables.number * slope).sum(axis=2),
        log_tie=tables.ties - 0.5 * float(np.sum(tables.number * tied)),
        laplacian=laplacian,
        cross=-(tables.number * slope * tied).sum(axis=2),
        log_tie_curvature=0.5 * float(np.sum(tables.number * tied * (1.0 - tied))),
    )
