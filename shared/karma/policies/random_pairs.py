"""`random` and `all-pairs`: uniformly drawn pairs."""

from __future__ import annotations

import random

from karma.policies.candidates import Candidates, Chosen
from karma.policies.prompt_group import Picks, PromptGroup
from karma.policies.sampling import draw


class RandomPairs:
    """Draws pairs with equal probabilities."""

    name = "random"
    why = "drawn at random"

    def plan(self, group: PromptGroup) -> Picks:
        """Models at random, including the target."""
        order = group.uniforms(len(group.models), stream=3)
        if group.target is not None:
            order[:, group.target] = 2.0
        return group.greatest(order)

    def choose(self, candidates: Candidates, count: int, rng: random.Random) -> Chosen:
        """Any pairs."""
        among = range(len(candidates.pairs))
        return candidates.chosen(draw([1.0] * len(among), count, rng), among, self.why)


class AllPairs(RandomPairs):
    """Every pair, or a random sample where the stream limits their number."""

    name = "all-pairs"
    why = "every pair"
