"""Groups of models that no verdict connects: nothing is known of how one group compares to another.

The gap of two models has an estimate only where a chain of comparisons joins them (Ford 1957, American Mathematical
Monthly 64, 28–33). The prior alone would say that the means of large groups are equal, since it takes every model for a
draw of one population. So each group gets an unknown mean of its own (a random effect of the group; Gelman et al. 2013,
Bayesian Data Analysis, chapter 5).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from karma_scoring.fit.likelihood import Array


def groups(comparisons: Array, related: Iterable[tuple[int, int]]) -> list[NDArray[np.intp]]:
    """The groups of two or more models that comparisons join, if there are several; none otherwise.

    Args:
        comparisons: numbers by two models, symmetric, [M, M].
        related: further models that belong together, as a child and its parent.
    """
    joined = comparisons > 0.0
    for first, second in related:
        joined[first, second] = joined[second, first] = True
    label = np.arange(len(joined))
    while True:  # each model takes the least label among its neighbors, until none changes
        least = np.minimum(label, np.where(joined, label, len(joined)).min(axis=1))
        if np.array_equal(least, label):
            break
        label = least
    found = [np.flatnonzero(label == each) for each in np.unique(label)]
    several = [group for group in found if len(group) > 1]
    return several if len(several) > 1 else []


def with_group_means(
    precision: Array, shift: Array, members: list[NDArray[np.intp]], deviation: float
) -> tuple[Array, Array]:
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
