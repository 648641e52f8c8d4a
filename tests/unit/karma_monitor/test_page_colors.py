"""Colors of the page and the report: every text and every mark stands out from its background."""

from __future__ import annotations

import re

import pytest

from karma_monitor.page.frozen import STATIC

SCHEMES = dict(
    zip(("light", "dark"), re.findall(r":root \{(.*?)\}", (STATIC / "page.css").read_text(), re.S), strict=False)
)
FILLS = sorted(set(re.findall(r"#[0-9a-f]{6}", (STATIC / "matrix.js").read_text())))


def colors(scheme: str) -> dict[str, str]:
    """The custom properties of a scheme; the dark one inherits the light one's."""
    found = {
        name: value for part in ("light", scheme) for name, value in re.findall(r"--([\w-]+): (#\w+);", SCHEMES[part])
    }
    assert len(found) > 15
    return found


def luminance(color: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    channels = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_and_every_mark_stands_out_from_its_background(scheme: str) -> None:
    found = colors(scheme)
    for name in ("ink", "note"):
        assert contrast(found[name], found["ground"]) >= 4.5, name
    for name in ("mark", "rule", *(f"s{line}" for line in range(8))):
        assert contrast(found[name], found["ground"]) >= 3.0, name


@pytest.mark.parametrize("fill", FILLS)
def test_the_number_in_a_cell_stands_out_from_its_fill(fill: str) -> None:
    assert contrast(colors("dark")["cell-ink"], fill) >= 4.5
