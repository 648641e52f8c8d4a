"""Logistic regression with a normal prior, for the rules that say whether a judge's label will stand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Pairs from which on there is a rule.
LEAST_PAIRS = 100
#: Prior standard deviation of each weight around 0.
_DEVIATION = 2.0
_STEPS = 30
_CLOSE = 1e-8

#: (the features of what was said first, whether its label stands).
Example = tuple[tuple[float, ...], bool]


def fit_logistic(examples: Sequence[Example]) -> tuple[float, ...] | None:
    """The maximum a posteriori of the weights, by Newton's method; None with too few examples."""
    if len(examples) < LEAST_PAIRS:
        return None
    x = np.array([row for row, _stands in examples])
    stands = np.array([stands for _row, stands in examples], dtype=np.float64)
    weights, precision = np.zeros(x.shape[1]), np.eye(x.shape[1]) / _DEVIATION**2
    for _step in range(_STEPS):
        p = 1.0 / (1.0 + np.exp(-x @ weights))
        gradient = x.T @ (stands - p) - precision @ weights
        step = np.linalg.solve((x * (p * (1.0 - p))[:, None]).T @ x + precision, gradient)
        weights += step
        if float(np.abs(step).max()) < _CLOSE:
            break
    return tuple(weights.tolist())
