"""Exploration: the comparisons that reduce the uncertainty of the models' ranks most, spread within a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from karma.policies.prompt_group import Array, Mask, PromptGroup, Seeds

_KNOWN = 0.1  # of the prior variance: from there on fewer and fewer prompts explore
_LEAST_VARIANCE = 1e-6  # squared logits: a gap that is known exactly has no density


def explored_share(share: float, gap_variance: Array, prior_gap_variance: float) -> float:
    """The share of prompts that explore: all while gaps are unknown, and `share` once they are known.

    The variance of a gap falls with the inverse of the verdicts. So a share that exceeds the setting by the square of
    the variance costs a bounded number of prompts, however long the stream.

    Args:
        share: the stream's setting; 0 never explores.
        gap_variance: posterior variances of the gaps between the models, [m, m].
        prior_gap_variance: of any gap before any verdict.
    """
    if share <= 0.0:
        return 0.0
    gaps = gap_variance[np.triu_indices(len(gap_variance), 1)]
    unknown = min(1.0, float(np.median(gaps)) / (_KNOWN * prior_gap_variance)) if len(gaps) else 0.0
    return share + (1.0 - share) * unknown**2


def exploring(
    groups: Sequence[PromptGroup],
    explorable: Callable[[PromptGroup], Mask],
    seeds: Seeds,
    explore_share: float,
    while_unknown: bool = True,
) -> list[PromptGroup]:
    """The groups of a batch, each with the two models that its exploring prompts compare.

    The share that explores and the compared models depend on the overall competency, to which every skill contributes.
    So the batch has one explorer; otherwise the prompts of each skill would compare the same models.

    Args:
        groups: of the batch.
        explorable: which two models of a group may be compared, [m, m].
        seeds: of the batch's prompts, [n].
        explore_share: the stream's setting.
        while_unknown: whether more prompts explore while the gaps are unknown.
    """
    allowed: dict[int, Mask] = {}
    if not groups:
        return []
    overall = replace(groups[0], seeds=seeds[[0]], skill=None)
    variance = overall.matrix("gap_deviation") ** 2
    share = explore_share
    if while_unknown:
        share = explored_share(explore_share, variance, overall.snapshot.prior_gap_variance(None))
    for group in groups:
        mask = explorable(group)
        if mask.any():
            explores = (group.uniforms(1, stream=1)[:, 0] < share).tolist()
            allowed |= {row: mask for row, chosen in zip(group.rows, explores, strict=True) if chosen}
    pairs = np.full((len(seeds), 2), -1, dtype=np.intp)
    if allowed:
        first, size = replace(overall, seeds=seeds[[min(allowed)]]), len(overall.models)
        explorer = Explorer(
            overall.vector("mean"),
            variance,
            overall.matrix("information"),
            noise=first.uniforms(size * size, stream=2).reshape(size, size),
        )
        for row in sorted(allowed):
            pairs[row] = explorer.next_pair(allowed[row])
    return [replace(group, explored=pairs[group.rows]) for group in groups]


class Explorer:
    """Chooses comparisons greedily: each time the one that reduces the uncertainty of the models' ranks most.

    A wide or well-known gap changes no rank, so only comparisons that change ranks count. With R the models' ranks
    under the posterior of the competencies θ, d = θ_i − θ_j and F the Fisher information of a verdict on d, knowing the
    verdict reduces the variance of the ranks, summed over the models, by

        F ‖Cov(R, d)‖² / (1 + F Var(d)),

    the rank-one update of a Gaussian posterior (Sherman & Morrison 1950). By Stein's lemma (1981, Annals of Statistics
    9, lemma 2) Cov(R, d) = E[∂R/∂θ] Cov(θ, d): a rank counts the rivals below, so E[∂R_a/∂θ_b] is minus the density of
    the gap θ_a − θ_b at 0, and a row adds up to 0. After a choice all covariances are updated as if its verdict were
    known, so that the comparisons of one batch spread over all uncertain gaps.
    """

    def __init__(self, mean: Array, gap_variance: Array, information: Array, noise: Array) -> None:
        """Start from the posterior.

        Args:
            mean: of θ, logits, [m].
            gap_variance: Var(θ_i − θ_j), [m, m], symmetric, diagonal 0.
            information: P(decisive) × H(win | decisive) in bits, [m, m]. A quarter of it is used as F: for equal
                models the two are equal, and F falls slightly faster with the gap.
            noise: in [0, 1), [m, m]; breaks ties.
        """
        self._fisher = 0.25 * information
        self._variance = gap_variance.copy()
        self._preference = 1.0 + 1e-6 * noise
        deviation = np.sqrt(np.maximum(gap_variance, _LEAST_VARIANCE))
        density = np.exp(-0.5 * ((mean[:, None] - mean[None, :]) / deviation) ** 2) / deviation
        np.fill_diagonal(density, 0.0)
        sensitivity = np.diag(density.sum(axis=1)) - density
        # Its rows add up to 0 and only differences are used below, so −½ Var(θ_i − θ_j) can replace Cov(θ_i, θ_j).
        ranks = sensitivity @ (-0.5 * gap_variance)
        self._ranks = ranks.T @ ranks  # [i, j] of Cov(R, θ_i) · Cov(R, θ_j), up to such a shift

    def next_pair(self, allowed: Mask) -> tuple[int, int]:
        """The next comparison (i, j); `allowed` is [m, m] and allows at least one."""
        own = np.diagonal(self._ranks)
        explained = own[:, None] + own[None, :] - 2.0 * self._ranks  # ‖Cov(R, θ_i − θ_j)‖²
        weight = self._fisher / (1.0 + self._fisher * self._variance)
        score = np.where(allowed, self._preference * weight * explained, -np.inf)
        i, j = np.unravel_index(int(np.argmax(score)), score.shape)
        # Cov(θ_a − θ_b, θ_i − θ_j) = u_a − u_b with u_a = (Var(θ_a − θ_j) − Var(θ_a − θ_i)) / 2.
        u = 0.5 * (self._variance[:, j] - self._variance[:, i])
        shared = self._ranks[:, i] - self._ranks[:, j]
        step = weight[i, j]
        self._variance -= step * (u[:, None] - u[None, :]) ** 2
        self._ranks += step * (step * explained[i, j] * np.outer(u, u) - np.outer(shared, u) - np.outer(u, shared))
        return int(i), int(j)
