"""The likelihood of verdict counts under Davidson's model (`karma.ranking.davidson`), with its derivatives.

Each source of verdicts (`karma.ranking.verdict_sources`) has its own ν, and a scale that is fixed here.
log P is linear in (θ, log ν) minus log z, a log-sum-exp; so it is concave.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from karma.ranking.davidson import log_z, log_z_derivatives, tie_probability
from karma.ranking.verdict_sources import JUDGE

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

_UNLABELED = -1


@dataclass(frozen=True, eq=False)
class Counts:
    """Verdict counts, one row per skill, pair of models and source (repeats add up). Arrays have shape [n].

    Counts are real numbers: decayed by age and weighted by the inverse of their probability of being judged.
    """

    skill: Indices  # index into the skills; −1 where the prompt has none
    first: Indices  # index into the models
    second: Indices
    wins_first: Array
    wins_second: Array
    ties: Array  # verdicts without a side
    #: Of all verdicts by skill, judged or not, [1+S]; row 0: prompts without a skill. None: the numbers above.
    weight: Array | None = None
    source: Indices | None = None  # index into the sources; None: all are of the first
    sources: tuple[str, ...] = (JUDGE,)  # K names


@dataclass(frozen=True, eq=False)
class Tables:
    """Counts as dense tables [B, M, M] of M models; each pair is in both triangles.

    A block is a row (skill) and a source with any verdicts, so a row of one source costs no more for other rows' ones.
    """

    rows: int  # R
    row: Indices  # of each block, [B]
    source: Indices  # of each block, [B]
    advantage: Array  # half of: wins of the row model minus wins of the column model
    number: Array  # comparisons
    ties: Array  # over all rows, each tie once, [K]
    scale: Array  # logits of decisive outcomes per logit of competency, [K]

    def by_row(self, blocks: Array, scale: Array | None = None) -> Array:
        """Blocks, times the scale of their source where one is given, summed over the sources: [B, …] → [R, …]."""
        summed = np.zeros((self.rows, *blocks.shape[1:]))
        for block, row in enumerate(self.row.tolist()):
            summed[row] += blocks[block] if scale is None else scale[self.source[block]] * blocks[block]
        return summed

    def by_source(self, blocks: Array) -> Array:
        """Numbers of blocks summed over the rows: [B] → [K]."""
        return np.bincount(self.source, weights=blocks, minlength=len(self.ties)).astype(np.float64)

    def gaps(self, theta: Array) -> Array:
        """The gap of decisive outcomes, scale × (θ_i − θ_j), in each block: [R, M] → [B, M, M]."""
        return gaps(self.scale[self.source, None] * theta[self.row])


@dataclass(frozen=True, eq=False)
class Derivatives:
    """First derivatives of the log likelihood, and second derivatives negated."""

    theta: Array  # [R, M]
    log_tie: Array  # [K]
    laplacian: Array  # [R, M, M] in θ: a weighted graph Laplacian per row
    cross: Array  # [R, M, K] in θ and log ν
    log_tie_curvature: Array  # [K]; of two sources together it is 0


def tables_of(counts: Counts, models: int, skills: int, scale: Array | None = None) -> Tables:
    """Dense tables with 1 + `skills` rows (row 0: prompts without a skill) and one more column, for an unseen model.

    Args:
        counts: comparisons of a model with itself are left out.
        models: their number.
        skills: their number.
        scale: by source; 1 for all where it is None.

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
    sources, kept = len(counts.sources), counts.first != counts.second
    of_source = np.zeros(len(counts.skill), dtype=np.int64) if counts.source is None else counts.source
    key = (counts.skill[kept] + 1) * sources + of_source[kept]
    is_block = np.bincount(key, minlength=(skills + 1) * sources) > 0
    row, source = np.divmod(np.flatnonzero(is_block).astype(np.int64), sources)
    shape = (len(row), models + 1, models + 1)
    cell = ((np.cumsum(is_block) - 1)[key] * shape[1] + counts.first[kept]) * shape[2] + counts.second[kept]

    def table(column: Array) -> Array:
        dense = np.bincount(cell, weights=column[kept], minlength=int(np.prod(shape)))
        return dense.astype(np.float64).reshape(shape)

    first, second, ties = table(counts.wins_first), table(counts.wins_second), table(counts.ties)
    wins = first + second.transpose(0, 2, 1)
    losses = wins.transpose(0, 2, 1)
    return Tables(
        rows=skills + 1,
        row=row,
        source=source,
        advantage=0.5 * (wins - losses),
        number=wins + losses + ties + ties.transpose(0, 2, 1),
        ties=np.bincount(source, weights=ties.sum(axis=(1, 2)), minlength=sources).astype(np.float64),
        scale=np.ones(sources) if scale is None else scale,
    )


def gaps(theta: Array) -> Array:
    """θ_i − θ_j for every row; [R, M] → [R, M, M]."""
    return theta[:, :, None] - theta[:, None, :]


def bordered(matrix: Array, border: Array, corner: Array) -> Array:
    """The symmetric matrix with further rows and columns: [n, n], [n, k] and [k, k] → [n+k, n+k]."""
    return np.block([[matrix, border], [border.T, corner]])


def log_likelihood(theta: Array, log_tie: Array, tables: Tables) -> float:
    """Log probability of the counts, up to a constant; log ν is by source, [K]."""
    gap, tie = tables.gaps(theta), np.exp(log_tie)[tables.source, None, None]
    half = 0.5 * float(np.sum(tables.advantage * gap - tables.number * log_z(gap, tie)))
    return half + float(tables.ties @ log_tie)


def derivatives(theta: Array, log_tie: Array, tables: Tables) -> Derivatives:
    """Gradient and negated Hessian of the log likelihood at (θ, log ν)."""
    gap, tie = tables.gaps(theta), np.exp(log_tie)[tables.source, None, None]
    slope, curvature = log_z_derivatives(gap, tie)
    tied = tie_probability(gap, tie)
    laplacian = -tables.by_row(tables.number * curvature, tables.scale**2)
    diagonal = np.arange(theta.shape[1])
    laplacian[:, diagonal, diagonal] -= laplacian.sum(axis=2)
    cross = np.zeros((*theta.shape, len(log_tie)))
    crossed = -(tables.number * slope * tied).sum(axis=2)
    for block, (row, source) in enumerate(zip(tables.row.tolist(), tables.source.tolist(), strict=True)):
        cross[row, :, source] = tables.scale[source] * crossed[block]
    return Derivatives(
        theta=tables.by_row((tables.advantage - tables.number * slope).sum(axis=2), tables.scale),
        log_tie=tables.ties - 0.5 * tables.by_source((tables.number * tied).sum(axis=(1, 2))),
        laplacian=laplacian,
        cross=cross,
        log_tie_curvature=0.5 * tables.by_source((tables.number * tied * (1.0 - tied)).sum(axis=(1, 2))),
    )


def score_and_information(counts: Counts, theta: Array, log_tie: Array, scale: Array) -> tuple[Array, Array]:
    """The score ∂ log P / ∂ d of each row of counts, with d its gap θ_first − θ_second, and its Fisher information.

    Args:
        counts: n rows.
        theta: [1+S, M]; row 0 for prompts without a skill.
        log_tie: log ν by source, [K].
        scale: logits of decisive outcomes per logit of competency, by source, [K].
    """
    source = np.zeros(len(counts.skill), dtype=np.int64) if counts.source is None else counts.source
    factor, gap = scale[source], theta[counts.skill + 1, counts.first] - theta[counts.skill + 1, counts.second]
    slope, curvature = log_z_derivatives(factor * gap, np.exp(log_tie)[source])
    verdicts = counts.wins_first + counts.wins_second + counts.ties
    score = factor * (0.5 * (counts.wins_first - counts.wins_second) - verdicts * slope)
    return score, factor * factor * verdicts * curvature
