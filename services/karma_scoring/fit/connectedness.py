"""Groups of models that few verdicts connect or none: little is known of how one group compares to another.

The gap of two models has an estimate only where a chain of comparisons joins them (Ford 1957, American Mathematical
Monthly 64, 28–33), and a poor one where the chain is thin. The prior alone would say that the means of large groups are
equal, since it takes every model for a draw of one population. So each group gets an unknown mean of its own (a random
effect of the group; Gelman et al. 2013, Bayesian Data Analysis, chapter 5). Thin connections are found by normalized
cuts of the graph of comparisons (Shi & Malik 2000, IEEE Transactions on Pattern Analysis and Machine Intelligence 22,
888–905).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from karma_scoring.fit.likelihood import Array

Members = NDArray[np.intp]

#: A normalized cut below this divides a pool. It is 1 where as many verdicts lie across as random pairs would give.
_THIN = 0.6
_SMALLEST = 2  # models, or families of them, of a group that is cut off


def groups(comparisons: Array, related: Iterable[tuple[int, int]]) -> list[Members]:
    """The groups of two or more models that comparisons join well, if there are several; none otherwise.

    Args:
        comparisons: numbers by two models, symmetric, [M, M].
        related: further models that belong together, as a child and its parent.
    """
    descended = np.zeros(comparisons.shape, dtype=bool)
    for first, second in related:
        descended[first, second] = descended[second, first] = True
    families = _components(descended)  # most of one model
    of_family = np.zeros((len(families), len(comparisons)))
    for number, family in enumerate(families):
        of_family[number, family] = 1.0
    joined = of_family @ comparisons @ of_family.T
    parts = [part for component in _components(joined > 0.0) for part in _divided(joined, component)]
    found = [np.sort(np.concatenate([families[number] for number in part])) for part in parts]
    several = sorted((group for group in found if len(group) > 1), key=lambda group: int(group[0]))
    return several if len(several) > 1 else []


def _components(joined: NDArray[np.bool_]) -> list[Members]:
    label = np.arange(len(joined))
    while True:  # each model takes the least label among its neighbors, until none changes
        least = np.minimum(label, np.where(joined, label, len(joined)).min(axis=1, initial=len(joined)))
        if np.array_equal(least, label):
            return [np.flatnonzero(label == each) for each in np.unique(label)]
        label = least


def _divided(joined: Array, members: Members) -> list[Members]:
    """The members, divided at the least normalized cut as long as it is thin.

    The cut is the best along the second eigenvector of the normalized Laplacian (there, section 3).
    """
    if len(members) < 2 * _SMALLEST:
        return [members]
    within = joined[np.ix_(members, members)]
    root = np.sqrt(within.sum(axis=1))
    _values, vectors = np.linalg.eigh(within / root[:, None] / root)
    order = np.argsort(vectors[:, -2] / root, kind="stable")
    ordered = within[np.ix_(order, order)]
    volume = np.cumsum(ordered.sum(axis=1))
    across = volume - np.cumsum(2.0 * np.tril(ordered, -1).sum(axis=1) + np.diagonal(ordered))
    sides = slice(_SMALLEST - 1, len(members) - _SMALLEST)  # the last model of the first side
    cut = across[sides] / volume[sides] + across[sides] / (volume[-1] - volume[sides])
    best = int(np.argmin(cut))
    if cut[best] >= _THIN:
        return [members]
    first, second = np.split(np.array(members)[order], [best + _SMALLEST])
    return [*_divided(joined, np.sort(first)), *_divided(joined, np.sort(second))]


def with_group_means(precision: Array, shift: Array, members: list[Members], deviation: float) -> tuple[Array, Array]:
    """A Gaussian prior to which each group's unknown mean is added: N(0, deviation²), by the Woodbury identity.

    Args:
        precision: of the prior, [M, M].
        shift: precision × mean, [M].
        members: of the groups.
        deviation: logits.
    """
    if not members:
        return precision, shift
    indicator = np.zeros((len(precision), len(members)))
    for number, group in enumerate(members):
        indicator[group, number] = 1.0
    spread = precision @ indicator
    inner = np.linalg.inv(np.eye(len(members)) * deviation**-2.0 + indicator.T @ spread)
    return precision - spread @ inner @ spread.T, shift - spread @ (inner @ (indicator.T @ shift))
