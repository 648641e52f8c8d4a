"""`best-vs-worst`: compares the best response with one of the worst."""

from __future__ import annotations

import random

import numpy as np

from karma.policies.candidates import Candidates, Chosen
from karma.policies.prompt_group import Picks, PromptGroup
from karma.policies.quality_gap import gap_scores
from karma.policies.sampling import greatest


class BestVersusWorst:
    """Pairs the responses with the largest difference in quality."""

    name = "best-vs-worst"

    def plan(self, group: PromptGroup) -> Picks:
        """The best, the worst, the second best…, or those farthest from the target.

        The order is that of one draw from the competencies' posterior per prompt (Thompson 1933, Biometrika 25).
        """
        draws = group.posterior_draws()
        if group.target is not None:
            distance = np.abs(draws - draws[:, group.target, None])
            distance[:, group.target] = np.inf  # the target itself comes first
            return group.greatest(distance)
        ends = [turn // 2 if turn % 2 == 0 else -1 - turn // 2 for turn in range(group.number)]
        return np.argsort(-draws, axis=1)[:, ends]

    def choose(self, candidates: Candidates, count: int, rng: random.Random) -> Chosen:
        """The pairs with the largest difference in quality.

        Where eight or more responses have a quality of their own, the best is paired with the one nearest to μ − 2σ of
        these qualities: the minimum of many samples is an outlier, and DPO on it does worse the more samples there are
        (Xiao et al. 2025, arXiv 2502.16825). Responses without a quality are then in no pair.
        """
        among, scores, by_deviations = gap_scores(candidates)
        why = "best against nearest to μ − 2σ" if by_deviations else "best against worst"
        return candidates.chosen(greatest(scores, count, rng), among, why)
