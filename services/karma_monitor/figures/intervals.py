"""Shares with confidence intervals, and thinning what is too much to show."""

from __future__ import annotations

import math


def evenly(count: int, most: int) -> list[int]:
    """At most `most` places of `count`, evenly spread, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(place * (count - 1) / (most - 1)) for place in range(most)]


def wilson(successes: float, trials: float) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927, JASA 22, 209–212)."""
    z2 = 1.959964**2
    found = successes / trials
    centre = (found + z2 / (2 * trials)) / (1 + z2 / trials)
    half = math.sqrt(z2 * found * (1 - found) / trials + z2 * z2 / (4 * trials * trials)) / (1 + z2 / trials)
    return max(0.0, centre - half), min(1.0, centre + half)


def ratio(part: float, whole: float) -> float | None:
    """A share or mean; None where there is nothing to divide by."""
    return part / whole if whole else None
