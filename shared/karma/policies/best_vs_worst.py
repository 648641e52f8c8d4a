"""`best-vs-worst`: compares the extremes, a common baseline."""

from __future__ import annotations

import random

import numpy as np

from karma.policies.candidates import Candidates, Chosen
from karma.policies.prompt_group import Picks, PromptGroup
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
        """The pairs with the largest difference in quality."""
        quality = candidates.qualities()
        widest = greatest([(abs(quality[x] - quality[y]),) for x, y in candidates.pairs], count, rng)
        return candidates.chosen(widest, range(len(candidates.pairs)), "best against worst")
