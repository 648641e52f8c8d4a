"""`informative`: compares models by the expected information of their comparison."""

from __future__ import annotations

import random

import numpy as np

from karma.policies.candidates import Candidates, Chosen
from karma.policies.prompt_group import Array, Mask, Picks, PromptGroup
from karma.policies.sampling import draw

_LEAST_INFORMATION = 1e-9  # bits; a single pair can be drawn however different its models are


class Informative:
    """Draws pairs of models in proportion to the information of their comparison."""

    name = "informative"

    def plan(self, group: PromptGroup) -> Picks:
        """Two models drawn as a pair by its information, each further model by its summed information with those."""
        bits = np.maximum(group.matrix("information"), _LEAST_INFORMATION)
        np.fill_diagonal(bits, 0.0)
        uniforms = group.uniforms(group.number)
        picks = np.empty((len(group.seeds), group.number), dtype=np.intp)
        if group.target is not None:
            picks[:, 0] = group.target
            picks[:, 1] = _by_weight(bits[picks[:, 0]], uniforms[:, 1])
        else:
            sums = np.cumsum(bits)
            drawn = np.searchsorted(sums, uniforms[:, 0] * sums[-1], side="right")
            picks[:, 0], picks[:, 1] = np.divmod(drawn, len(bits))
        explores = group.explored[:, 0] >= 0
        picks[explores, :2] = group.explored[explores]
        for turn in range(2, group.number):
            with_drawn = bits[picks[:, :turn]].sum(axis=1)
            np.put_along_axis(with_drawn, picks[:, :turn], 0.0, axis=1)
            picks[:, turn] = _by_weight(with_drawn, uniforms[:, turn])
        return picks

    def explorable(self, group: PromptGroup) -> Mask:
        """Any two models."""
        return group.comparable()

    def choose(self, candidates: Candidates, count: int, rng: random.Random) -> Chosen:
        """Pairs of different models, drawn by information."""
        among, bits = candidates.between_models(), candidates.values("information")
        return candidates.chosen(draw([bits[pair] for pair in among], count, rng), among, "drawn by information")


def _by_weight(weights: Array, uniforms: Array) -> Picks:
    """One column per row, in proportion to the weights."""
    sums = np.cumsum(weights, axis=1)
    columns: Picks = (sums <= (uniforms * sums[:, -1])[:, None]).sum(axis=1).astype(np.intp)
    return columns
