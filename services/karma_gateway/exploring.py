"""Exploring: the comparisons that most reduce what is unknown about the pool, spread within a batch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_MOST = 5.0  # times the usual share, while nothing is known


def explored_share(share: float, gap_variance: Array, prior_gap_variance: float) -> float:
    """The share of prompts that explore: `share` once competencies are known, up to five times that before.

    Args:
        share: the stream's setting; 0 never explores.
        gap_variance: posterior variances of the gaps between the eligible models, [m, m].
        prior_gap_variance: of any gap before any verdict.
    """
    gaps = gap_variance[np.triu_indices(len(gap_variance), 1)]
    unknown = min(1.0, float(np.median(gaps)) / prior_gap_variance) if len(gaps) else 0.0
    return min(1.0, share * (1.0 + (_MOST - 1.0) * unknown))


class Explorer:
    """Chooses comparisons greedily: each time the greatest p(1 − p) Var(θ_i − θ_j), the information in it for the gap.

    After a choice the variances are lowered as that verdict will lower them (a rank-one update of the Gaussian
    posterior, Sherman & Morrison 1950), so that one batch spreads over all that is unknown.
    """

    def __init__(self, gap_variance: Array, win: Array, allowed: NDArray[np.bool_], noise: Array) -> None:
        """Start from the posterior.

        Args:
            gap_variance: Var(θ_i − θ_j), [m, m], symmetric, diagonal 0.
            win: P(i beats j), [m, m].
            allowed: which pairs may be chosen, [m, m].
            noise: in [0, 1), [m, m]; breaks ties.
        """
        self._variance = gap_variance.copy()
        self._curvature = win * (1.0 - win)
        self._preference = np.where(allowed, 1.0 + 1e-6 * noise, -1.0)

    def next_pair(self) -> tuple[int, int]:
        """The next comparison (i, j)."""
        score = self._preference * self._curvature * self._variance
        score[self._preference < 0.0] = -1.0
        i, j = np.unravel_index(int(np.argmax(score)), score.shape)
        # Cov(θ_a − θ_b, θ_i − θ_j) = u_a − u_b with u_a = (Var(θ_a − θ_j) − Var(θ_a − θ_i)) / 2.
        u = 0.5 * (self._variance[:, j] - self._variance[:, i])
        weight = self._curvature[i, j] / (1.0 + self._curvature[i, j] * self._variance[i, j])
        self._variance -= weight * (u[:, None] - u[None, :]) ** 2
        return int(i), int(j)
