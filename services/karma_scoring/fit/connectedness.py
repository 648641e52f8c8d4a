"""Groups of models that few verdicts connect or none: little is known of how one group compares to another.

The gap of two models has an estimate only where a chain of comparisons joins them (`karma.ranking.connectedness`), and
a poor one where the chain is thin. Each group gets a mean of its own (`group_means`). Thin connections are found by
normalized cuts of the graph of comparisons (Shi & Malik 2000, IEEE Transactions on Pattern Analysis and Machine
Intelligence 22, 888–905).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from karma.ranking.connectedness import LEAST_VERDICTS, Members, components
from karma_scoring.fit.likelihood import Array

#: A normalized cut below this divides a pool. It is 1 where as many verdicts lie across as random pairs would give.
_THIN = 0.6
_SMALLEST = 2  # models, or families of them, of a group that is cut off
#: Verdicts per model below which no cut is thin: the graph of so few has thin cuts wherever they fell, and most of all
#: where they were planned, between neighbors (24 models: with groups, a plan needs a fifth more to rank them).
_LEAST_PER_MODEL = 10.0


def groups(comparisons: Array, related: Iterable[tuple[int, int]]) -> list[Members]:
    """The groups of two or more models that comparisons join well, if there are several; none otherwise.

    Args:
        comparisons: numbers by two models, symmetric, [M, M].
        related: further models that belong together, as a child and its parent.
    """
    descended = np.zeros(comparisons.shape, dtype=bool)
    for first, second in related:
        descended[first, second] = descended[second, first] = True
    families = components(descended)  # most of one model
    of_family = np.zeros((len(families), len(comparisons)))
    for number, family in enumerate(families):
        of_family[number, family] = 1.0
    joined = of_family @ comparisons @ of_family.T
    joined[joined < LEAST_VERDICTS] = 0.0
    parts = [part for component in components(joined > 0.0) for part in _divided(joined, component)]
    found = [np.sort(np.concatenate([families[number] for number in part])) for part in parts]
    several = sorted((group for group in found if len(group) > 1), key=lambda group: int(group[0]))
    return several if len(several) > 1 else []


def _divided(joined: Array, members: Members) -> list[Members]:
    """The members, divided at the least normalized cut as long as it is thin.

    The cut is the best along the second eigenvector of the normalized Laplacian (there, section 3).
    """
    if len(members) < 2 * _SMALLEST:
        return [members]
    within = joined[np.ix_(members, members)]
    apart = components(within > 0.0)  # a side of a cut need not hang together
    if len(apart) > 1:
        return [part for component in apart for part in _divided(joined, members[component])]
    if within.sum() < _LEAST_PER_MODEL * len(members):
        return [members]
    root = np.sqrt(within.sum(axis=1))
    _values, vectors = np.linalg.eigh(within / root[:, None] / root)
    order = np.argsort(vectors[:, -2] / root, kind="stable")
    ordered = within[np.ix_(order, order)]
    degrees = ordered.sum(axis=1)
    # Of the second side, added up from its own end: a difference of sums would lose a side of few verdicts.
    volume, rest = np.cumsum(degrees), np.cumsum(degrees[::-1])[::-1]
    across = np.maximum(volume - np.cumsum(2.0 * np.tril(ordered, -1).sum(axis=1) + np.diagonal(ordered)), 0.0)
    sides = slice(_SMALLEST - 1, len(members) - _SMALLEST)  # the last model of the first side
    cut = across[sides] / volume[sides] + across[sides] / rest[1:][sides]
    best = int(np.argmin(cut))
    if cut[best] >= _THIN:
        return [members]
    first, second = np.split(members[order], [best + _SMALLEST])
    return [*_divided(joined, np.sort(first)), *_divided(joined, np.sort(second))]
