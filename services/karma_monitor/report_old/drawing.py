"""What pictures are drawn with: scales, ticks, axes, safe texts, the SVG around them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from karma_monitor.escaping import escape_control

LABEL_PX = 190
PLOT_PX = 560
ROW_PX = 20
MARGIN_PX = 14
AXIS_PX = 40
LABEL_CHARACTERS = 26


def text(content: str) -> str:
    """A text that a page shows as it is."""
    return escape(escape_control(content))


def label(name: str) -> str:
    """A name as a picture has room for."""
    whole = escape_control(name)
    return escape(whole if len(whole) <= LABEL_CHARACTERS else f"{whole[: LABEL_CHARACTERS - 1]}…")


@dataclass(frozen=True)
class Scale:
    """From values to pixels."""

    low: float
    high: float
    start_px: float
    end_px: float

    def __call__(self, value: float) -> float:
        """The place of a value."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return round(self.start_px + share * (self.end_px - self.start_px), 1)


def nice_ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round numbers that span a range (Heckbert 1990, Graphics Gems, 61–63)."""
    step = 10.0 ** math.floor(math.log10((high - low) / about))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (factor * step) <= about)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(place * step, 12) for place in range(first, last + 1)]


def number(value: float) -> str:
    """A tick's number, no longer than it must be."""
    return f"{value:,.6g}"


def span(values: Sequence[float]) -> tuple[float, float]:
    """The range of values, widened where it is none."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    return (low, high) if high - low > 1e-9 else (low - 0.5, high + 0.5)


def apart(heights: Sequence[float], least: float) -> list[float]:
    """The heights moved so that no two labels overlap, in their order from top to bottom."""
    moved = list(heights)
    last = -math.inf
    for place in sorted(range(len(heights)), key=lambda place: heights[place]):
        moved[place] = last = max(heights[place], last + least)
    return moved


def vertical_axis(ticks: Sequence[float], across: Scale, height: float, unit: str) -> str:
    """Lines across the picture at the ticks of its horizontal axis, with their numbers and the unit below."""
    parts = []
    for tick in ticks:
        x = across(tick)
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{MARGIN_PX}" y2="{height}"/>')
        parts.append(f'<text class="note" x="{x}" y="{height + 15}" text-anchor="middle">{number(tick)}</text>')
    middle = (across.start_px + across.end_px) / 2
    parts.append(f'<text class="note" x="{middle}" y="{height + 32}" text-anchor="middle">{text(unit)}</text>')
    return "".join(parts)


def svg(parts: Sequence[str], width: float, height: float, title: str) -> str:
    """The picture; its title is what a screen reader says."""
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    return f'<svg {size} role="img" aria-label="{text(title)}">{"".join(parts)}</svg>'
