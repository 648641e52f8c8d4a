"""Models that a chain of comparisons joins.

Only the gap of such models has an estimate (Ford 1957, American Mathematical Monthly 64, 28–33).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Members = NDArray[np.intp]

#: Fewer verdicts connect nothing: a millionth of one, left after years of decay, must not decide who is comparable.
LEAST_VERDICTS = 1e-3


def components(joined: NDArray[np.bool_]) -> list[Members]:
    """The connected components of a graph, each in ascending order, by their least member.

    Args:
        joined: which two are neighbors, symmetric, [M, M].
    """
    label = np.arange(len(joined))
    while True:  # each takes the least label among its neighbors, until none changes
        least = np.minimum(label, np.where(joined, label, len(joined)).min(axis=1, initial=len(joined)))
        if np.array_equal(least, label):
            return [np.flatnonzero(label == each) for each in np.unique(label)]
        label = least


def groups_apart(comparisons: NDArray[np.float64]) -> list[Members]:
    """The groups of two or more models that no verdict connects, if there are several; none otherwise.

    Args:
        comparisons: numbers by two models, symmetric, [M, M].
    """
    several = [group for group in components(comparisons >= LEAST_VERDICTS) if len(group) > 1]
    return several if len(several) > 1 else []
