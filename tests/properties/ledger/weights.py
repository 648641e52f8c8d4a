"""How much the verdicts on one prompt's pairs weigh, by linear algebra: the product counts groups of responses."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from tests.properties.ledger.records import Pair

#: Digits to which sums of weights are compared.
DIGITS = 6


def weight_of(pairs: Collection[Pair]) -> float:
    """Independent comparisons per pair: the rank of the incidence matrix, which has a row for each pair."""
    sides = sorted({side for pair in pairs for side in pair})
    incidence = np.zeros((len(pairs), len(sides)))
    for row, (first, second) in enumerate(pairs):
        incidence[row, [sides.index(first), sides.index(second)]] = 1.0, -1.0
    return int(np.linalg.matrix_rank(incidence)) / len(pairs)
