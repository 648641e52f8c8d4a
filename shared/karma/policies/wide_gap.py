"""`wide-gap`: one of the best against one clearly worse, for training."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from karma.policies.candidates import Candidates, Choice, Chosen
from karma.policies.prompt_group import Array, Mask, Picks, PromptGroup
from karma.policies.quality_gap import gap_scores
from karma.seeds import seed_of

_BEST = 2  # models that are always among the better ones


class WideGap:
    """Pairs a response of one of the best models with one of a clearly worse model, in changing combinations.

    A wide gap is what preference training gains from, and its label is known without a judge call. But pairs of the
    best and the worst model alone would teach what sets these two apart. So the worse model is drawn from the lower
    half, and each further pair of a prompt takes two other responses if it can.
    """

    name = "wide-gap"
    explores_while_unknown = False  # the posterior's draws do: at first any model may be the best

    def plan(self, group: PromptGroup) -> Picks:
        """The target if there is one, then in turn the next best model and a random one of the lower half.

        Better and worse are by one draw from the competencies' posterior per prompt (Thompson 1933, Biometrika 25).
        With a target that is itself among the better half, a worse model comes first. If there is room for one better
        model only, it is one of the two best, drawn. Prompts that explore are answered by the two models first that
        they compare (`karma.policies.exploration`).
        """
        in_turn = self._all_in_turn(group)
        position = np.argsort(in_turn, axis=1)
        explores = np.flatnonzero(group.explored[:, 0] >= 0)
        for turn in (0, 1):
            position[explores, group.explored[explores, turn]] = turn - 2
        return np.argsort(position, axis=1)[:, : group.number]

    def explorable(self, group: PromptGroup) -> Mask:
        """Any two models."""
        return group.comparable()

    def _all_in_turn(self, group: PromptGroup) -> Picks:
        """All models in the order in which prompts that do not explore ask them, [n, m]."""
        draws = group.posterior_draws()
        number = len(group.models)
        if group.target is None:
            ranked = _ranked(draws, group.uniforms(number, stream=6), either_best=group.number == 2)
            return _in_turn(ranked)
        own = draws[:, [group.target]]
        others = np.array([model for model in range(number) if model != group.target], dtype=np.intp)
        better, worse = _ranked(draws[:, others], group.uniforms(number - 1, stream=6), either_best=group.number == 2)
        first = np.full((len(draws), 1), group.target, dtype=np.intp)
        strong = (draws[:, others] < own).mean(axis=1, keepdims=True) > 0.5
        in_turn = np.where(strong, _in_turn((worse, better)), _in_turn((better, worse)))
        return np.concatenate([first, others[in_turn]], axis=1)

    def choose(self, candidates: Candidates, count: int, rng: random.Random) -> Chosen:
        """Each response of the better half with one of the others, drawn, so that no two pairs share a response.

        Where that is not enough, the pairs with the largest difference follow. A repeated response is learned by heart:
        on three pairs a prompt that share the chosen response, DPO made a model worse at what it knew before. The sum
        of the differences is the same however the halves are matched, so that the draw costs no width. It is made by a
        hash of the texts, which is as good as random and makes the choice certain whatever the seed.

        Where eight or more responses have a quality of their own, the best meets the one nearest to μ − 2σ
        (`quality_gap`).
        """
        among, scores, by_deviations = gap_scores(candidates)
        sides = [candidates.pairs[pair] for pair in among]
        texts = [candidate.text for candidate in candidates.candidates]
        hashes = [seed_of(texts[x], texts[y]) for x, y in sides]
        widest = sorted(range(len(among)), key=lambda index: (scores[index], hashes[index]), reverse=True)
        first = widest if by_deviations else _across(candidates, sides, hashes)
        used: set[int] = set()
        fresh = []
        for index in first:
            if used.isdisjoint(sides[index]):
                used.update(sides[index])
                fresh.append(index)
        wanted = [*fresh, *(index for index in widest if index not in fresh)][:count]
        return [Choice(among[index], 1.0, "a wide gap") for index in wanted], ""


def _across(candidates: Candidates, sides: Sequence[tuple[int, int]], hashes: Sequence[int]) -> list[int]:
    """The pairs of a response of the better half with one of the others: the best one's first, each by its hash."""
    quality = candidates.qualities()
    ties = [seed_of(candidate.text) for candidate in candidates.candidates]
    order = sorted(range(len(quality)), key=lambda response: (quality[response], ties[response]), reverse=True)
    rank = {response: place for place, response in enumerate(order)}
    better = {pair: min(rank[x], rank[y]) for pair, (x, y) in enumerate(sides)}
    half = len(order) // 2
    across = [pair for pair, (x, y) in enumerate(sides) if (rank[x] < half) != (rank[y] < half)]
    return sorted(across, key=lambda pair: (better[pair], hashes[pair]))


def _ranked(draws: Array, random_order: Array, either_best: bool = False) -> tuple[Picks, Picks]:
    """The better models, best first, [n, h], and the others in random order, [n, m − h]; h is half, but at least 2.

    Args:
        draws: competencies, [n, m].
        random_order: numbers in [0, 1), [n, m].
        either_best: whether the two best change places at random.
    """
    number = draws.shape[1]
    half = min(number - 1, max(_BEST, number // 2))
    order = np.argsort(-draws, axis=1)
    better, worse = order[:, :half], order[:, half:]
    if either_best and half >= _BEST:
        swapped = random_order[:, 0] < 0.5
        better = np.where(swapped[:, None], np.concatenate([better[:, 1::-1], better[:, 2:]], axis=1), better)
    shuffled = np.argsort(np.take_along_axis(random_order, worse, axis=1), axis=1)
    return better, np.take_along_axis(worse, shuffled, axis=1)


def _in_turn(both: tuple[Picks, Picks]) -> Picks:
    """One of the first, one of the second, and so on; the longer one's rest is at the end, [n, m]."""
    first, second = both
    shorter = min(first.shape[1], second.shape[1])
    pairs = np.stack([first[:, :shorter], second[:, :shorter]], axis=2).reshape(len(first), 2 * shorter)
    return np.concatenate([pairs, first[:, shorter:], second[:, shorter:]], axis=1)
