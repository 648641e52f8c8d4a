"""Rests of a gateway whose pipeline is full: short enough that it stays well filled."""

from __future__ import annotations

import pytest

from karma_gateway.rest import Rest


def rested(places: int, each: int, every_s: float) -> float:
    """The rest after ten seconds in which so many prompts were admitted every so often."""
    now = 0.0
    rest = Rest(places, lambda: now)
    while now < 10.0:
        now += every_s
        rest.count(each)
    return rest.seconds


@pytest.mark.parametrize(("places", "each", "every_s"), [(1024, 64, 0.05), (8, 1, 0.05), (2, 1, 0.01)])
def test_about_a_sixteenth_of_the_places_becomes_free_during_a_rest(places: int, each: int, every_s: float) -> None:
    free = rested(places, each, every_s) * each / every_s
    assert free == pytest.approx(places / 16, rel=0.05)


def test_a_slow_pipeline_is_looked_at_five_times_a_second() -> None:
    assert rested(places=1024, each=1, every_s=0.5) == 0.2


def test_nothing_is_known_of_the_rate_at_first() -> None:
    assert Rest(8, lambda: 0.0).seconds == 0.2
