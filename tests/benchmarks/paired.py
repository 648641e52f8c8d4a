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


@dataclass(frozen=True)
class Ratio:
    """Geometric mean of paired ratios with its 95 % interval; there is no interval of a single pair."""

    mean: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.mean:.3f} (once)"
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def ratio(treated: Sequence[float], control: Sequence[float]) -> Ratio:
    """`treated` / `control`, pair by pair: Student's interval of the mean logarithm.

    Raises:
        ValueError: the lengths differ, there is no pair, or a value is not above 0.
    """
    if not treated or min(*treated, *control) <= 0.0:
        raise ValueError(f"ratios of {treated} to {control}: expected values above 0, one of each or more")
    logs = [math.log(one / other) for one, other in zip(treated, control, strict=True)]
    if len(logs) == 1:
        return Ratio(math.exp(logs[0]))
    found = difference(logs, [0.0] * len(logs))
    return Ratio(math.exp(found.mean), math.exp(found.low), math.exp(found.high))
