"""Pictures as inline SVG: dots with whiskers, lines, heat maps, bars. No scripts, nothing from elsewhere.

Colours are classes that the page's style sheet fills for a light and a dark scheme; nothing is told by colour alone.
Every text is escaped here: labels may be names that a model or a user chose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from karma_monitor.report_old.drawing import (
    AXIS_PX,
    LABEL_CHARACTERS,
    LABEL_PX,
    MARGIN_PX,
    PLOT_PX,
    ROW_PX,
    Scale,
    apart,
    label,
    nice_ticks,
    number,
    span,
    svg,
    text,
    vertical_axis,
)

#: Fills from nothing to everything, and from losing to winning; dark text reads well on each.
SEQUENTIAL = ("#f4f8fb", "#e3eef6", "#d0e4f0", "#bcd9ea", "#a6cde3", "#8fc0dc", "#77b3d5", "#5fa5cd")
DIVERGING = ("#e08a4a", "#e9a672", "#f2c6a4", "#f9e4d3", "#f7f7f7", "#d5e7f2", "#aed1e6", "#85bbda", "#5fa5cd")
#: On the fills above.
CELL_INK = "#111418"


#: Shares by row and column; None where unknown.
Matrix = Sequence[Sequence[float | None]]


@dataclass(frozen=True)
class Whisker:
    """A value with its interval; the interval may be unknown."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    note: str = ""  # beside the value


@dataclass(frozen=True)
class Spot:
    """A point with its interval in y."""

    label: str
    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class Course:
    """A line: its label and its points (x, y), x rising."""

    label: str
    points: Sequence[tuple[float, float]]


def whiskers(rows: Sequence[Whisker], title: str, unit: str, rule: float | None = None) -> str:
    """One row a value: a dot on its interval. `rule` draws a line at a value to compare with."""
    ends = [end for row in rows for end in (row.value, row.low, row.high) if end is not None]
    ticks = nice_ticks(*span([*ends, *([rule] if rule is not None else [])]))
    across = Scale(ticks[0], ticks[-1], LABEL_PX, LABEL_PX + PLOT_PX)
    height = MARGIN_PX + len(rows) * ROW_PX
    parts = [vertical_axis(ticks, across, height, unit)]
    if rule is not None:
        parts.append(f'<line class="rule" x1="{across(rule)}" x2="{across(rule)}" y1="{MARGIN_PX}" y2="{height}"/>')
    for place, row in enumerate(rows):
        y = MARGIN_PX + (place + 0.5) * ROW_PX
        parts.append(f'<text x="{LABEL_PX - 8}" y="{y + 4}" text-anchor="end">{label(row.label)}</text>')
        if row.low is not None and row.high is not None:
            parts.append(f'<line class="whisker" x1="{across(row.low)}" x2="{across(row.high)}" y1="{y}" y2="{y}"/>')
        parts.append(f'<circle class="dot" cx="{across(row.value)}" cy="{y}" r="4.5"/>')
        if row.note:
            end = max(across(row.value), across(row.high) if row.high is not None else 0)
            parts.append(f'<text class="note" x="{end + 8}" y="{y + 4}">{text(row.note)}</text>')
    return svg(parts, LABEL_PX + PLOT_PX + 150, height + AXIS_PX, title)


def bars(rows: Sequence[Whisker], title: str, unit: str) -> str:
    """One bar a row from zero, its note at its end."""
    ticks = nice_ticks(0.0, max([row.value for row in rows], default=0.0) or 1.0)
    across = Scale(0.0, ticks[-1], LABEL_PX, LABEL_PX + PLOT_PX)
    height = MARGIN_PX + len(rows) * ROW_PX
    parts = [vertical_axis(ticks, across, height, unit)]
    for place, row in enumerate(rows):
        y = MARGIN_PX + (place + 0.5) * ROW_PX
        width = across(row.value) - LABEL_PX
        parts.append(f'<text x="{LABEL_PX - 8}" y="{y + 4}" text-anchor="end">{label(row.label)}</text>')
        parts.append(f'<rect class="bar" x="{LABEL_PX}" y="{y - 6}" width="{width:.1f}" height="12"/>')
        parts.append(f'<text class="note" x="{LABEL_PX + width + 8:.1f}" y="{y + 4}">{text(row.note)}</text>')
    return svg(parts, LABEL_PX + PLOT_PX + 150, height + AXIS_PX, title)


def lines(courses: Sequence[Course], title: str, x_unit: str, y_unit: str) -> str:
    """Up to eight lines, each named at its end and told apart by its dashes as well as by its colour."""
    height = 320
    points = [point for course in courses for point in course.points]
    x_ticks = nice_ticks(*span([x for x, _y in points]))
    y_ticks = nice_ticks(*span([y for _x, y in points]))
    across = Scale(min(x for x, _y in points), max(x for x, _y in points), 60, 60 + PLOT_PX)
    up = Scale(y_ticks[0], y_ticks[-1], height, 2 * MARGIN_PX)
    shown = [tick for tick in x_ticks if across.low <= tick <= across.high]
    parts = [vertical_axis(shown, across, height, x_unit), _horizontal_axis(y_ticks, up, y_unit)]
    names = apart([up(course.points[-1][1]) for course in courses], 14)
    for place, (course, name_y) in enumerate(zip(courses, names, strict=True)):
        path = " ".join(f"{across(x)},{up(y)}" for x, y in course.points)
        parts.append(f'<polyline class="line s{place % 8}" points="{path}"/>')
        x, y = course.points[-1]
        parts.append(f'<circle class="s{place % 8} end" cx="{across(x)}" cy="{up(y)}" r="3"/>')
        parts.append(f'<text x="{66 + PLOT_PX}" y="{name_y + 4:.1f}">{label(course.label)}</text>')
    return svg(parts, 60 + PLOT_PX + 200, height + AXIS_PX, title)


def spots(rows: Sequence[Spot], title: str, x_unit: str, y_unit: str, x_range: tuple[float, float]) -> str:
    """Points with whiskers in a plane that begins at zero; each is named beside it."""
    height = 310
    y_ticks = nice_ticks(0.0, max(row.high for row in rows) or 1.0)
    across, up = Scale(*x_range, 60, 60 + PLOT_PX), Scale(y_ticks[0], y_ticks[-1], height, 2 * MARGIN_PX)
    parts = [vertical_axis(nice_ticks(*x_range), across, height, x_unit), _horizontal_axis(y_ticks, up, y_unit)]
    for row in rows:
        x, y = across(row.x), up(row.y)
        parts.append(f'<line class="whisker" x1="{x}" x2="{x}" y1="{up(row.low)}" y2="{up(row.high)}"/>')
        parts.append(f'<circle class="dot" cx="{x}" cy="{y}" r="4.5"/>')
        parts.append(f'<text x="{x + 9:.1f}" y="{y + 4:.1f}">{label(row.label)}</text>')
    return svg(parts, 60 + PLOT_PX + 200, height + AXIS_PX, title)


def heat_map(names: Sequence[str], cells: Matrix, title: str, fills: Sequence[str]) -> str:
    """A square of shares in [0, 1]; None is hatched. Few cells hold their number, all hold it as a tooltip."""
    side = 44 if len(names) <= 14 else 16
    top = 20 + 5 * max((min(len(name), LABEL_CHARACTERS) for name in names), default=0)
    parts = [_legend(fills, top + len(names) * side + MARGIN_PX)]
    for place, name in enumerate(names):
        x = LABEL_PX + (place + 0.5) * side
        parts.append(
            f'<text transform="translate({x + 4},{top - 6}) rotate(-55)" class="{"" if side > 20 else "small"}">'
            f"{label(name)}</text>"
        )
    for down, (name, values) in enumerate(zip(names, cells, strict=True)):
        y = top + down * side
        parts.append(f'<text x="{LABEL_PX - 8}" y="{y + side / 2 + 4}" text-anchor="end">{label(name)}</text>')
        for along, value in enumerate(values):
            x = LABEL_PX + along * side
            said = "unknown" if value is None else f"{value:.2f}"
            fill = "url(#unknown)" if value is None else fills[min(len(fills) - 1, int(value * len(fills)))]
            tip = f"<title>{text(name)} · {text(names[along])}: {said}</title>"
            parts.append(f'<rect x="{x}" y="{y}" width="{side - 1}" height="{side - 1}" fill="{fill}">{tip}</rect>')
            if side > 20 and value is not None:
                middle = f'x="{x + side / 2}" y="{y + side / 2 + 4}" text-anchor="middle"'
                parts.append(f'<text class="cell" {middle}>{value:.2f}</text>')
    width = max(LABEL_PX + len(names) * side + 110, 2 * LABEL_PX + _SWATCH_PX * len(fills))
    return svg(parts, width, top + len(names) * side + AXIS_PX + MARGIN_PX, title)


_SWATCH_PX = 24


def _legend(fills: Sequence[str], y: float) -> str:
    """The fills from 0 to 1."""
    end = LABEL_PX + _SWATCH_PX * len(fills)
    swatches = (
        f'<rect x="{LABEL_PX + place * _SWATCH_PX}" y="{y}" width="{_SWATCH_PX}" height="12" fill="{fill}"/>'
        for place, fill in enumerate(fills)
    )
    ends = ((LABEL_PX, "start", "0"), ((LABEL_PX + end) / 2, "middle", "0.5"), (end, "end", "1"))
    numbers = (f'<text class="note" x="{x}" y="{y + 26}" text-anchor="{how}">{said}</text>' for x, how, said in ends)
    return "".join((*swatches, *numbers))


def _horizontal_axis(ticks: Sequence[float], up: Scale, unit: str) -> str:
    parts = [f'<text class="note" x="4" y="10">{text(unit)}</text>']
    for tick in ticks:
        y = up(tick)
        parts.append(f'<line class="grid" x1="60" x2="{60 + PLOT_PX}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text class="note" x="52" y="{y + 4:.1f}" text-anchor="end">{number(tick)}</text>')
    return "".join(parts)
