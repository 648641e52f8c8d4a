"""`self`: compares samples of one model."""

from __future__ import annotations

import random

import numpy as np

from karma.policies.candidates import Candidates, Chosen
from karma.policies.prompt_group import Picks, PromptGroup
from karma.policies.sampling import draw


class SelfPlay:
    """Pairs two samples of one model, with equal probabilities."""

    name = "self"

    def plan(self, group: PromptGroup) -> Picks:
        """Samples of a model at random, or of the target."""
        drawn = (group.uniforms(1) * len(group.models)).astype(np.intp)
        return np.repeat(drawn if group.target is None else np.full_like(drawn, group.target), group.number, axis=1)

    def choose(self, candidates: Candidates, count: int, rng: random.Random) -> Chosen:
        """Any pairs of one model."""
        among = [pair for pair, (x, y) in enumerate(candidates.pairs) if candidates.models[x] == candidates.models[y]]
        if not among:
            return [], "no two answers of one model"
        return candidates.chosen(draw([1.0] * len(among), count, rng), among, "two samples of one model")
