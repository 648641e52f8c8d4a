"""Sampling: draws by weight with known probabilities, or the greatest scores with ties broken at random."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

Drawn = list[tuple[int, float]]  # indices, each with its probability of being among the drawn


def draw(weights: Sequence[float], count: int, rng: random.Random) -> Drawn:
    """`count` different indices, drawn in proportion to their weights.

    Systematic sampling with unequal probabilities (Madow 1949, Annals of Mathematical Statistics 20, 333–354): the
    probability of being among the drawn is exactly count × weight / total, as a Horvitz–Thompson estimate needs it. An
    index for which this would be 1 or more is drawn for certain, and the remaining draws are among the others. Indices
    without weight are drawn only if those with weight do not suffice.

    Args:
        weights: not negative, on any scale.
        count: if there are fewer weights, all are drawn.
    """
    certain: list[int] = []
    left = list(range(len(weights)))
    wanted = min(count, len(weights))
    while True:
        shares = [weights[index] for index in left]
        total = sum(shares)
        if total <= 0.0:
            shares, total = [1.0] * len(left), float(len(left))
        sure = {index for index, share in zip(left, shares, strict=True) if wanted * share >= total > 0.0}
        if not sure:
            break
        certain.extend(sorted(sure))
        left = [index for index in left if index not in sure]
        wanted -= len(sure)
    drawn = [(index, 1.0) for index in certain]
    if wanted == 0:
        return drawn
    order = list(range(len(left)))
    if wanted > 1:
        rng.shuffle(order)  # so that any two can be drawn together, not only distant ones
    sums = list(accumulate(shares[index] for index in order))
    start = rng.random()
    for turn in range(wanted):
        index = order[min(bisect_right(sums, (start + turn) * total / wanted), len(order) - 1)]
        drawn.append((left[index], wanted * shares[index] / total))
    return drawn


def greatest(scores: Sequence[tuple[float, ...]], count: int, rng: random.Random) -> Drawn:
    """The indices of the `count` greatest scores; among equal scores at the limit the draw is uniform.

    Args:
        scores: at least one; compared as tuples.
        count: at least 1; if there are fewer scores, all are chosen.
    """
    count = min(count, len(scores))
    limit = sorted(scores, reverse=True)[count - 1]
    above = [index for index, score in enumerate(scores) if score > limit]
    equal = [index for index, score in enumerate(scores) if score == limit]
    wanted = count - len(above)
    return [(index, 1.0) for index in above] + [(index, wanted / len(equal)) for index in rng.sample(equal, wanted)]
