"""Groups of models that no verdict connects: nothing is known of how one group compares to another.

The gap of two models has an estimate only where a chain of comparisons joins them (Ford 1957, American Mathematical
Monthly 64, 28–33).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def groups(comparisons: NDArray[np.float64], related: Iterable[tuple[int, int]] = ()) -> list[NDArray[np.intp]]:
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
        least = np.minimum(label, np.where(joined, label, len(joined)).min(axis=1, initial=len(joined)))
        if np.array_equal(least, label):
            break
        label = least
    found = [np.flatnonzero(label == each) for each in np.unique(label)]
    several = [group for group in found if len(group) > 1]
    return several if len(several) > 1 else []
