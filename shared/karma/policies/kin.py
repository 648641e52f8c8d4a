"""`kin`: compares models of which neither is known to be better, the rule of arXiv 2502.18744."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np

from karma.policies.candidates import Candidates, Chosen
from karma.policies.prompt_group import Mask, Picks, PromptGroup
from karma.policies.sampling import greatest
from karma.ranking.snapshot import KIN_COMPARISONS, KIN_THRESHOLD


@dataclass(frozen=True)
class Kin:
    """Pairs the responses of greatest kinship and similarity.

    Models that share fewer than `comparisons` verdicts cannot be held to a threshold: they are paired, nearest first,
    only where no pair is known to be kin.
    """

    name: str = "kin"
    threshold: float = KIN_THRESHOLD
    comparisons: float = KIN_COMPARISONS

    def plan(self, group: PromptGroup) -> Picks:
        """A model at random (or the target), then those nearest to it: by kinship, by the gap while that is unknown.

        Pairs that `choose` would refuse come last, and a model that has only such pairs is not drawn first.
        """
        kinship, gap = group.matrix("kinship"), np.abs(group.matrix("gap"))
        settled = (group.matrix("comparisons") >= self.comparisons) & ~np.isnan(kinship)
        kinship = np.nan_to_num(kinship)
        accepted = ~settled | (kinship >= self.threshold)
        # Known kin come in order of kinship (3 to 4), the untried in order of the gap (1 to 2), the refused last.
        nearness = np.where(settled & accepted, 3.0 + kinship, np.where(accepted, 1.0, 0.0) + 1.0 / (1.0 + gap))
        np.fill_diagonal(nearness, -np.inf)
        if group.target is not None:
            first = np.full(len(group.seeds), group.target)
        else:
            usable = np.flatnonzero((nearness >= 1.0).any(axis=1))
            usable = usable if len(usable) else np.arange(len(nearness))
            first = usable[(group.uniforms(1)[:, 0] * len(usable)).astype(np.intp)]
        order = nearness[first] + 1e-9 * group.uniforms(len(nearness), stream=3)  # equals in any order
        explores = group.explored[:, 0] >= 0
        first = np.where(explores, group.explored[:, 0], first)
        order[explores] = nearness[first[explores]]
        order[explores, group.explored[explores, 1]] = np.inf
        return np.column_stack([first, group.greatest(order)[:, : group.number - 1]])

    def explorable(self, group: PromptGroup) -> Mask:
        """Models that share so few verdicts that `choose` does not hold them to the threshold."""
        return group.comparable() & (group.matrix("comparisons") < self.comparisons)

    def choose(self, candidates: Candidates, count: int, rng: random.Random) -> Chosen:
        """Pairs of kin; where there is none and some are not settled, the nearest of those."""
        among, similarity = candidates.between_models(), candidates.similarity
        kinship, shared = candidates.values("kinship"), candidates.values("comparisons")
        settled = [pair for pair in among if shared[pair] >= self.comparisons and not math.isnan(kinship[pair])]
        kin = [pair for pair in settled if kinship[pair] >= self.threshold]
        if kin:
            best = greatest([(kinship[pair] * similarity(pair),) for pair in kin], count, rng)
            return candidates.chosen(best, kin, "greatest kinship and similarity")
        unsettled = sorted(set(among).difference(settled))
        if not unsettled:
            return [], "nothing above the kinship threshold"
        gap = candidates.values("gap")
        nearest = greatest([(-abs(gap[pair]), similarity(pair)) for pair in unsettled], count, rng)
        return candidates.chosen(nearest, unsettled, "exploring: nearest kin by rank")
