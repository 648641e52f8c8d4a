"""The prior of groups of models that few verdicts connect or none (`connectedness`).

A prior of independent models would say that the means of large groups are equal, since it takes every model for a draw
of one population. So each group gets an unknown mean of its own (a random effect of the group; Gelman et al. 2013,
Bayesian Data Analysis, chapter 5).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from karma_scoring.fit.likelihood import Array


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
