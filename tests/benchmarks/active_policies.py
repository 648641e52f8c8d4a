"""Pairing policies of others, for comparison only: selection rules of ActiveUltraFeedback (arXiv 2603.09692) by their
idea, on KARMA's posterior of the competencies. Not a part of the product; a plug-in (`KARMA_PLUGINS`).

- `deltaucb`: the pair with the largest optimistic gap, θ_i − θ_j plus one deviation of the gap;
- `drts`: double reversed Thompson sampling, the best model of one draw against the worst of another;
- `infomax`: the pair whose gap has the largest posterior variance.

`deltaucb` and `infomax` draw nothing, so that under one snapshot all prompts of a skill would compare the same models.
There each prompt chooses among a half of the models, drawn by its seed.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from karma.policies.candidates import Candidates, Chosen
from karma.policies.prompt_group import Array, Picks, PromptGroup
from karma.policies.sampling import greatest

MODULE = __name__
_OPTIMISM = 1.0  # deviations of the gap


class GreatestPair:
    """Pairs the models with the greatest score of a pair."""

    def __init__(self, name: str, score: Callable[[Array, Array], Array]) -> None:
        """A policy.

        Args:
            name: of the policy.
            score: of gaps and their deviations, in their shape.
        """
        self.name = name
        self._score = score

    def plan(self, group: PromptGroup) -> Picks:
        """The two models with the greatest score, then those with the greatest score against the first."""
        models = len(group.models)
        score = self._score(group.matrix("gap"), group.matrix("gap_deviation"))
        np.fill_diagonal(score, -np.inf)
        rank = np.argsort(group.uniforms(models, stream=6), axis=1)
        if group.target is not None:
            first = np.full(len(group.seeds), group.target)
            order = np.maximum(score, score.T)[first] + np.where(rank < models // 2, 0.0, -1e3)
            order[:, group.target] = np.inf
            return group.greatest(order)
        usable = np.where(rank < max(group.number, models // 2), 0.0, -1e3)
        rows = score[None] + usable[:, :, None] + usable[:, None, :]
        best = rows.reshape(len(rows), -1).argmax(axis=1)
        first, second = np.divmod(best, models)
        order = rows[np.arange(len(rows)), first]
        order[np.arange(len(rows)), second] = np.inf
        return np.column_stack([first, group.greatest(order)[:, : group.number - 1]])

    def choose(self, candidates: Candidates, count: int, rng: random.Random) -> Chosen:
        """The pairs of responses with the greatest score, in either direction."""
        gap, deviation = np.array(candidates.values("gap")), np.array(candidates.values("gap_deviation"))
        scores = np.maximum(self._score(gap, deviation), self._score(-gap, deviation)).tolist()
        drawn = greatest([(score,) for score in scores], count, rng)
        return candidates.chosen(drawn, range(len(candidates.pairs)), "greatest score")


class DoubleReversedThompson:
    """Pairs the best response of one draw from the posterior with the worst of another."""

    name = "drts"

    def plan(self, group: PromptGroup) -> Picks:
        """The best model of one draw, the worst others of another; with a target, those at both its ends."""
        draws, others = group.posterior_draws(), replace(group, seeds=~group.seeds).posterior_draws()
        rows = np.arange(len(draws))
        if group.target is not None:
            distance = np.maximum(draws - others[:, [group.target]], draws[:, [group.target]] - others)
            distance[:, group.target] = np.inf
            return group.greatest(distance)
        best = draws.argmax(axis=1)
        others = -others
        others[rows, best] = -np.inf
        return np.column_stack([best, group.greatest(others)[:, : group.number - 1]])

    def choose(self, candidates: Candidates, count: int, rng: random.Random) -> Chosen:
        """The pairs with the largest difference in quality."""
        quality = candidates.qualities()
        widest = greatest([(abs(quality[x] - quality[y]),) for x, y in candidates.pairs], count, rng)
        return candidates.chosen(widest, range(len(candidates.pairs)), "best against worst of another draw")


PLUGINS = MappingProxyType(
    {
        "karma.policies": {
            "deltaucb": GreatestPair("deltaucb", lambda gap, deviation: gap + _OPTIMISM * deviation),
            "infomax": GreatestPair("infomax", lambda _gap, deviation: deviation.copy()),
            "drts": DoubleReversedThompson(),
        }
    }
)
#: Their names.
ACTIVE = tuple(PLUGINS["karma.policies"])


def register() -> None:
    """Make the policies known to this process."""
    named = os.environ.get("KARMA_PLUGINS", "")
    if MODULE not in named.split(","):
        os.environ["KARMA_PLUGINS"] = f"{named},{MODULE}" if named else MODULE
