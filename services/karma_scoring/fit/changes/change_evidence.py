"""Evidence of a change of competencies at a time bucket: what the verdicts before and after it say, as Bayes factors.

Scores G and Fisher information L (a weighted graph Laplacian) are summed before and after the bucket, at the fit to all
verdicts. D = G_after − L_after (L_before + L_after)⁻¹ (G_before + G_after) is Gaussian with variance P = L_before :
L_after, their parallel sum (Anderson & Duffin 1969, Journal of Mathematical Analysis and Applications 26, 576–594), and
mean P Δ under a change of the competencies by Δ. With Δ ~ N(0, Σ) the log Bayes factor against no change is
½ Dᵀ (P + Σ⁻¹)⁻¹ D − ½ log |1 + Σ P| (Kass & Raftery 1995, JASA 90, 773–795).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import comb, log

import numpy as np

from karma_scoring.fit.competency import Posterior
from karma_scoring.fit.evidence import Evidence
from karma_scoring.fit.likelihood import Array, Indices, score_and_information

#: Prior deviation of the log of the factor on all gaps.
SCALE_DEVIATION = 0.7
#: Information on the log of that factor from which on its likelihood is taken for Gaussian; before, a single verdict
#: against the far better model would seem to show a duller judge.
_LEAST_CURVATURE = 20.0
#: Prior deviations of the moves of all models, in logits, of equal probability.
MOVE_DEVIATIONS = (0.25, 0.5, 1.0)
#: Of the move of one model: shared by all skills and in each skill, as in `drift`.
SHARED_MOVE_DEVIATION = 1.0
SKILL_MOVE_DEVIATION = 0.5
#: Models that are few: at most this share of them; one is always.
_FEW_SHARE = 1 / 3
#: How much less probable beforehand, as a log, a change of one, two and three models at once is; more are not few.
_AT_ONCE = (0.0, 0.5, 5.0)
#: Models among which the few are sought: those that seem to have moved most.
_SUSPECTS = 6


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of counts in the order of the evidence, [n]; a row is a skill, two models and a bucket."""

    bucket: Indices
    skill: Indices  # 0: prompts without a skill
    first: Indices
    second: Indices
    score: Array
    information: Array
    gap: Array
    skills: int  # 1 + S
    models: int

    def since(self, bucket: float) -> Rows:
        """The rows of this bucket and later ones."""
        kept = self.bucket >= bucket
        return replace(
            self,
            bucket=self.bucket[kept],
            skill=self.skill[kept],
            first=self.first[kept],
            second=self.second[kept],
            score=self.score[kept],
            information=self.information[kept],
            gap=self.gap[kept],
        )

    def sums(self) -> tuple[Array, Array]:
        """Scores [R, M] and Laplacians [R, M, M] over all rows."""
        shape = (self.skills, self.models, self.models)
        cell = np.ravel_multi_index((self.skill, self.first, self.second), shape)
        size = int(np.prod(shape))
        score = np.bincount(cell, weights=self.score, minlength=size).astype(np.float64).reshape(shape)
        information = np.bincount(cell, weights=self.information, minlength=size).astype(np.float64).reshape(shape)
        laplacian: Array = -information - information.transpose(0, 2, 1)
        diagonal = np.arange(self.models)
        laplacian[:, diagonal, diagonal] = 0.0
        laplacian[:, diagonal, diagonal] = -laplacian.sum(axis=2)
        total: Array = score.sum(axis=2) - score.sum(axis=1)
        return total, laplacian


@dataclass(frozen=True, eq=False)
class Difference:
    """What the verdicts before and after a bucket say of a change: D [R, M] and P [R, M, M] per skill."""

    shift: Array
    precision: Array
    theta: Array  # [R, M], of the fit

    def scaled(self) -> float:
        """Log Bayes factor of one factor on all gaps."""
        slope = float(np.sum(self.theta * self.shift))
        curvature = float(np.einsum("ri,rij,rj->", self.theta, self.precision, self.theta))
        if curvature < _LEAST_CURVATURE:
            return 0.0
        return _scalar_factor(np.array(slope), np.array(curvature), SCALE_DEVIATION).item()

    def mixed(self) -> float:
        """Log Bayes factor of a move of every model, alike in all skills or in each by itself."""
        together = [_normal_factor(self.shift.sum(axis=0), self.precision.sum(axis=0), d) for d in MOVE_DEVIATIONS]
        if len(self.shift) == 1:
            return float(np.logaddexp.reduce(together)) - log(len(together))
        apart = sum(map(_normal_factor, self.shift, self.precision, [SKILL_MOVE_DEVIATION] * len(self.shift)))
        return float(np.logaddexp.reduce([*together, apart])) - log(len(together) + 1)

    @property
    def compared(self) -> int:
        """Models with verdicts on both sides."""
        return int(np.count_nonzero(self.precision.any(axis=(0, 2))))

    def few(self) -> float:
        """Log Bayes factor of a change of few models, any of which is as probable beforehand as any other."""
        compared = self.compared
        alone = move_factors(self.shift, np.diagonal(self.precision, axis1=1, axis2=2), axis=0)
        suspects = np.argsort(-alone)[:_SUSPECTS].tolist()
        chosen: list[int] = []
        best = -np.inf
        for size in range(1, max(1, min(len(_AT_ONCE), int(compared * _FEW_SHARE))) + 1):
            factor, model = max((self._moved([*chosen, one]), one) for one in suspects if one not in chosen)
            chosen.append(model)
            best = max(best, factor - log(comb(compared, size)) - _AT_ONCE[size - 1])
        return best

    def _moved(self, models: list[int]) -> float:
        """Log Bayes factor of a move of these models, each by itself."""
        skills = len(self.shift)
        block = SHARED_MOVE_DEVIATION**2 * np.ones((skills, skills)) + SKILL_MOVE_DEVIATION**2 * np.eye(skills)
        variance: Array = np.kron(np.eye(len(models)), block).astype(np.float64)
        precision = np.zeros((len(models), skills, len(models), skills))
        for row in range(skills):
            precision[:, row, :, row] = self.precision[row][np.ix_(models, models)]
        flat = precision.reshape(len(variance), len(variance))
        return _gaussian_factor(self.shift[:, models].T.ravel(), flat, variance)


def competencies(posterior: Posterior, models: int) -> Array:
    """Modes per skill, [1+S, M]; row 0 for prompts without a skill."""
    return np.concatenate([posterior.alpha[None, :], posterior.alpha + posterior.delta])[:, :models]


def rows_of(evidence: Evidence, posterior: Posterior) -> Rows:
    """The rows of the evidence with their scores and information at the posterior's mode."""
    counts = evidence.counts
    theta = np.concatenate([posterior.alpha[None, :], posterior.alpha + posterior.delta])
    score, information = score_and_information(counts, theta, posterior.log_tie, posterior.scale)
    skill = counts.skill + 1
    gap = theta[skill, counts.first] - theta[skill, counts.second]
    sizes = len(evidence.skills) + 1, len(evidence.models)
    return Rows(evidence.bucket, skill, counts.first, counts.second, score, information, gap, *sizes)


def difference_at(rows: Rows, bucket: int, theta: Array) -> Difference:
    """What the rows before and from this bucket on say; `theta` is of the fit."""
    score, laplacian = rows.sums()
    later_score, later = rows.since(bucket).sums()
    diagonal = np.arange(rows.models)
    ridge = laplacian.copy()
    ridge[:, diagonal, diagonal] += 1e-6 + 1e-9 * laplacian[:, diagonal, diagonal].max()
    solved = np.linalg.solve(ridge, np.concatenate([score[:, :, None], later], axis=2))
    return Difference(
        shift=later_score - (later @ solved[:, :, :1])[:, :, 0],
        precision=later - later @ solved[:, :, 1:],
        theta=theta,
    )


def scalar_series(scores: Array, informations: Array, deviation: float) -> Array:
    """Log Bayes factors of a scalar change at the start of each bucket, [..., B]."""
    before, information = np.cumsum(scores, axis=-1) - scores, np.cumsum(informations, axis=-1) - informations
    after = scores.sum(axis=-1, keepdims=True) - before
    rest = np.maximum(informations.sum(axis=-1, keepdims=True) - information, 0.0)
    total = np.maximum(information + rest, 1e-12)
    return _scalar_factor((after * information - before * rest) / total, information * rest / total, deviation)


def move_factors(difference: Array, precision: Array, axis: int) -> Array:
    """Log Bayes factors of a move of one model, shared by its skills and in each by itself.

    Args:
        difference: of the estimates after and before, times its precision.
        precision: of that difference; 0 where one side has no verdict.
        axis: of the skills.
    """
    spread = 1.0 + SKILL_MOVE_DEVIATION**2 * precision
    weight, shift = (precision / spread).sum(axis=axis), (difference / spread).sum(axis=axis)
    shared = 1.0 + SHARED_MOVE_DEVIATION**2 * weight
    fit = (difference**2 * SKILL_MOVE_DEVIATION**2 / spread).sum(axis=axis)
    fit = fit + SHARED_MOVE_DEVIATION**2 * shift**2 / shared
    factors: Array = 0.5 * (fit - np.log(spread).sum(axis=axis) - np.log(shared))
    return factors


def _scalar_factor(slope: Array, curvature: Array, deviation: float) -> Array:
    spread = 1.0 + deviation**2 * curvature
    factor: Array = 0.5 * (deviation**2 * slope**2 / spread - np.log(spread))
    return factor


def _normal_factor(shift: Array, precision: Array, deviation: float) -> float:
    """Log Bayes factor of independent moves of all models with this deviation."""
    if not precision.any():
        return 0.0
    root = np.linalg.cholesky(np.eye(len(shift)) + deviation**2 * precision)
    explained = deviation * np.linalg.solve(root, shift)
    return float(0.5 * (explained @ explained) - np.log(np.diagonal(root)).sum())


def _gaussian_factor(shift: Array, precision: Array, variance: Array) -> float:
    inner = np.eye(len(shift)) + variance @ precision
    return 0.5 * float(shift @ np.linalg.solve(inner, variance @ shift) - np.linalg.slogdet(inner)[1])
