"""Shares and numbers as pages show them, with the intervals that belong to them."""

from __future__ import annotations

import math
from collections.abc import Sequence


def evenly(count: int, most: int) -> list[int]:
    """At most `most` places of `count`, evenly spread, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(place * (count - 1) / (most - 1)) for place in range(most)]


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927, JASA 22, 209–212)."""
    z2 = 1.959964**2
    found = successes / trials
    centre = (found + z2 / (2 * trials)) / (1 + z2 / trials)
    half = math.sqrt(z2 * found * (1 - found) / trials + z2 * z2 / (4 * trials * trials)) / (1 + z2 / trials)
    return max(0.0, centre - half), min(1.0, centre + half)


def signed(value: float) -> str:
    """A number with its sign."""
    return f"{value:+.2f}"


def share(value: float | None) -> str:
    """A share in per cent; – where it is unknown."""
    return "–" if value is None else f"{100 * value:.1f} %"


def number(value: float | None) -> str:
    """A number with three decimals; – where it is unknown."""
    return "–" if value is None else f"{value:.3f}"


def duration(seconds: float | None) -> str:
    """A length of time in the two units that matter; – where it is unknown."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for unit, below, unit_s, smaller, smaller_s in (("min", 3600, 60, "s", 1), ("h", 86_400, 3600, "min", 60)):
        if whole < below:
            return f"{whole // unit_s} {unit} {whole % unit_s // smaller_s} {smaller}"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def rate(value: float | None) -> str:
    """A rate with as many decimals as tell something; – where it is unknown."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 or value == 0 else f"{value:.2f}"


def sparkline(values: Sequence[float | None]) -> str:
    """Values from zero up as a row of bars, the highest whole; a gap where one is unknown."""
    top = max((value for value in values if value is not None), default=0.0)
    bars = "▁▂▃▄▅▆▇█"

    def bar(value: float | None) -> str:
        if value is None:
            return " "
        return bars[0] if top <= 0 else bars[min(len(bars) - 1, round(value / top * (len(bars) - 1)))]

    return "".join(bar(value) for value in values)
