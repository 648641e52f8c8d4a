"""Shares, durations, rates and trends as text."""

from __future__ import annotations

from collections.abc import Sequence


def share(value: float | None) -> str:
    """A share in per cent; – where it is unknown."""
    return "–" if value is None else f"{100 * value:.1f} %"


def percent(share: float) -> str:
    """A share for people, with decimals only where it is nearly 0 or nearly 1."""
    if share in (0.0, 1.0) or 0.01 <= share <= 0.99:
        return f"{100 * share:.0f} %"
    return "over 99.99 %" if share > 0.9999 else "under 0.01 %" if share < 0.0001 else f"{100 * share:.2f} %"


def duration(seconds: float | None) -> str:
    """A duration in its two largest units; – where it is unknown."""
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
    """A rate with two to three significant digits; – where it is unknown."""
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
