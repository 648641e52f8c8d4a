"""`best-vs-random`: the baseline of UltraFeedback binarized (Tunstall et al. 2023, Zephyr)."""

from __future__ import annotations

import random
from collections import defaultdict

import numpy as np

from karma.policies.candidates import Candidates, Choice, Chosen
from karma.policies.prompt_group import Picks, PromptGroup


class BestVersusRandom:
    """Pairs the best response with random other responses."""

    name = "best-vs-random"

    def plan(self, group: PromptGroup) -> Picks:
        """The best model and random others, including the target.

        The best model is that of one draw from the competencies' posterior per prompt (Thompson 1933, Biometrika 25),
        so a model is chosen with its posterior probability of being the best.
        """
        order = group.uniforms(len(group.models), stream=3)
        order[np.arange(len(order)), np.argmax(group.posterior_draws(), axis=1)] = 2.0
        if group.target is not None:
            order[:, group.target] = 3.0
        return group.greatest(order)

    def choose(self, candidates: Candidates, count: int, rng: random.Random) -> Chosen:
        """Pairs with one of the best responses, drawn uniformly among equally good responses."""
        quality = candidates.qualities()
        pairs_of: dict[int, list[int]] = defaultdict(list)
        for pair, both in enumerate(candidates.pairs):
            for candidate in both:
                pairs_of[candidate].append(pair)
        highest = max(quality[candidate] for candidate in pairs_of)
        tops = [candidate for candidate in sorted(pairs_of) if quality[candidate] == highest]
        drawn = pairs_of[rng.choice(tops)]

        def probability(pair: int) -> float:
            """Of being drawn, over the candidates that can be the best."""
            own = [top for top in tops if top in candidates.pairs[pair]]
            return sum(min(1.0, count / len(pairs_of[top])) / len(tops) for top in own)

        drawn = rng.sample(drawn, min(count, len(drawn)))
        return [Choice(pair, probability(pair), "best against random") for pair in drawn], ""
