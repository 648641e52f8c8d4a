"""Pictures: well-formed, escaped, readable by everyone."""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karma_monitor.report_old.drawing import apart, nice_ticks
from karma_monitor.report_old.html import DARK, LIGHT, Section, page
from karma_monitor.report_old.pictures import (
    CELL_INK,
    DIVERGING,
    SEQUENTIAL,
    Course,
    Spot,
    Whisker,
    bars,
    heat_map,
    lines,
    spots,
    whiskers,
)

EVIL = "<script>alert(\"1\")</script>\x1b[31m & 'quoted'"


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_every_text_and_every_mark_stands_out_from_its_ground(scheme: dict[str, str]) -> None:
    for name in ("ink", "note"):
        assert contrast(scheme[name], scheme["ground"]) >= 4.5, name
    for name in ("mark", "rule", *(f"s{place}" for place in range(8))):
        assert contrast(scheme[name], scheme["ground"]) >= 3.0, name


@pytest.mark.parametrize("fill", [*SEQUENTIAL, *DIVERGING])
def test_the_number_in_a_cell_stands_out_from_its_fill(fill: str) -> None:
    assert contrast(CELL_INK, fill) >= 4.5


def pictures(name: str) -> list[str]:
    return [
        whiskers([Whisker(name, 0.1, -1.0, 1.0, name), Whisker("b", 0.2)], name, name, 0.5),
        bars([Whisker(name, 0.0, note=name)], name, name),
        lines([Course(name, [(0.0, 1.0), (1.0, 1.0)]), Course("b", [(0.5, 2.0)])], name, name, name),
        spots([Spot(name, 50.0, 3.0, 1.0, 5.0)], name, name, name, (0, 100)),
        heat_map([name, "b"], [[None, 0.0], [1.0, 0.5]], name, SEQUENTIAL),
    ]


@pytest.mark.parametrize("place", range(5))
def test_a_name_is_text_and_nothing_else_in_a_picture(place: int) -> None:
    picture = pictures(EVIL)[place]
    root = ElementTree.fromstring(picture)  # well-formed, although it stands in HTML
    assert not root.findall(".//script")
    assert "\x1b" not in picture
    assert "<script" not in picture


@given(st.text())
def test_any_name_leaves_a_picture_and_a_page_well_formed(name: str) -> None:
    for picture in pictures(name):
        ElementTree.fromstring(picture)
    whole = page("t", [name], [Section(name, [name], [(name, "")], [(name, (name,), [(name,)])])])
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", whole)


def test_a_matrix_of_many_models_drops_the_numbers_and_keeps_the_tooltips() -> None:
    names = [f"m{place}" for place in range(40)]
    picture = heat_map(names, [[0.5] * 40] * 40, "many", SEQUENTIAL)
    assert 'class="cell"' not in picture
    assert picture.count("<title>") == 1600


def test_what_is_unknown_is_hatched_and_said() -> None:
    picture = heat_map(["a"], [[None]], "t", SEQUENTIAL)
    assert 'fill="url(#unknown)"' in picture
    assert "a · a: unknown" in picture


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e4))
def test_ticks_are_few_and_span_the_range(low: float, width: float) -> None:
    ticks = nice_ticks(low, low + width)
    step = max(b - a for a, b in itertools.pairwise(ticks))
    assert 2 <= len(ticks) <= 9
    assert ticks[0] <= low + 1e-6 * step
    assert ticks[-1] >= low + width - 1e-6 * step


@given(st.lists(st.floats(0, 300), max_size=8))
def test_labels_never_overlap(heights: list[float]) -> None:
    moved = sorted(apart(heights, 14.0))
    assert all(b - a >= 14.0 - 1e-9 for a, b in itertools.pairwise(moved))
