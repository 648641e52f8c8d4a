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
    """Pairs the responses with the greatest kinship and similarity.

    The threshold does not apply to models that share fewer than `comparisons` verdicts. These are paired, nearest
    first, only if no pair is known to be kin.
    """

    name: str = "kin"
    threshold: float = KIN_THRESHOLD
    comparisons: float = KIN_COMPARISONS

    def plan(self, group: PromptGroup) -> Picks:
        """A random model (or the target), then those nearest to it: by kinship, or by the gap if that is unknown.

        Pairs that `choose` would refuse come last, and a model that has only such pairs is not drawn first.
        """
        kinship, gap = group.matrix("kinship"), np.abs(group.matrix("gap"))
        settled = (group.matrix("comparisons") >= self.comparisons) & ~np.isnan(kinship)
        kinship = np.nan_to_num(kinship)
        accepted = ~settled | (kinship >= self.threshold)
        # Known kin are in order of kinship (3 to 4), unsettled pairs in order of the gap (1 to 2), refused pairs last.
        nearness = np.where(settled & accepted, 3.0 + kinship, np.where(accepted, 1.0, 0.0) + 1.0 / (1.0 + gap))
        np.fill_diagonal(nearness, -np.inf)
        if group.target is not None:
            first = np.full(len(group.seeds), group.target)
        else:
            usable = np.flatnonzero((nearness >= 1.0).any(axis=1))
            usable = usable if len(usable) else np.arange(len(nearness))
            first = usable[(group.uniforms(1)[:, 0] * len(usable)).astype(np.intp)]
        order = nearness[first] + 1e-9 * group.uniforms(len(nearness), stream=3)  # ties in random order
        explores = group.explored[:, 0] >= 0
        first = np.where(explores, group.explored[:, 0], first)
        order[explores] = nearness[first[explores]]
        order[explores, group.explored[explores, 1]] = np.inf
        return np.column_stack([first, group.greatest(order)[:, : group.number - 1]])

    def explorable(self, group: PromptGroup) -> Mask:
        """Models that share too few verdicts for the threshold of `choose`."""
        return group.comparable() & (group.matrix("comparisons") < self.comparisons)

    def choose(self, candidates: Candidates, count: int, rng: random.Random) -> Chosen:
        """Pairs of kin; if there is none, the nearest of the pairs that are not settled."""
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
