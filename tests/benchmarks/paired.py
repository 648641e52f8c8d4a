"""Paired differences between two treatments that saw the same seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev


@dataclass(frozen=True)
class Difference:
    """Mean of paired differences with its 95 % interval, in the unit of what was compared."""

    mean: float
    low: float
    high: float

    @property
    def worse(self) -> bool:
        """Whether the interval lies wholly below 0."""
        return self.high < 0.0

    @property
    def better(self) -> bool:
        """Whether the interval lies wholly above 0."""
        return self.low > 0.0

    def __str__(self) -> str:
        return f"{self.mean:+.1f} [{self.low:+.1f}, {self.high:+.1f}]"


def difference(treated: Sequence[float], control: Sequence[float]) -> Difference:
    """Student's interval of the mean of `treated` − `control`, pair by pair (one pair a seed).

    Raises:
        ValueError: the lengths differ, or there are fewer than two pairs.
    """
    from scipy.stats import t

    differences = [one - other for one, other in zip(treated, control, strict=True)]
    if len(differences) < 2:
        raise ValueError(f"{len(differences)} pairs: an interval needs at least 2")
    mean = fmean(differences)
    half = float(t.ppf(0.975, len(differences) - 1)) * stdev(differences) / math.sqrt(len(differences))
    return Difference(mean, mean - half, mean + half)
