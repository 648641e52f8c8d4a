"""Draws have the chances that they report."""

import random
from collections import Counter

import pytest

from karma.policies.sampling import Drawn, draw, greatest


def test_places_are_drawn_as_often_as_their_reported_chance_says() -> None:
    """Three of five with unequal weights, one of them so great that it is always drawn."""
    weights, times, reported = [1.0, 2.0, 3.0, 4.0, 50.0], 8_000, dict[int, float]()
    seen: Counter[int] = Counter()
    for seed in range(times):
        drawn = draw(weights, 3, random.Random(seed))
        assert len({place for place, _ in drawn}) == 3
        seen.update(place for place, _ in drawn)
        reported.update(dict(drawn))

    assert reported == pytest.approx({0: 0.2, 1: 0.4, 2: 0.6, 3: 0.8, 4: 1.0})
    for place, chance in reported.items():
        assert seen[place] / times == pytest.approx(chance, abs=0.015)


def test_places_without_weight_fill_up_what_is_wanted() -> None:
    """With equal chances among themselves."""
    drawn = dict(draw([0.0, 5.0, 0.0], 2, random.Random(1)))

    assert drawn.pop(1) == 1.0
    assert list(drawn.values()) == [0.5]


def test_all_are_drawn_where_more_are_wanted() -> None:
    """For certain."""
    assert sorted(draw([1.0, 3.0], 7, random.Random(1))) == [(0, 1.0), (1, 1.0)]


def test_equal_scores_compete_for_the_last_place() -> None:
    """The greater ones are certain."""
    drawn: Drawn = greatest([(3.0,), (1.0,), (2.0,), (2.0,)], 2, random.Random(5))

    assert drawn[0] == (0, 1.0)
    assert drawn[1] in [(2, 0.5), (3, 0.5)]


def test_any_two_places_can_be_drawn_together() -> None:
    """Neighbours as well as distant ones."""
    together = {tuple(sorted(place for place, _ in draw([1.0] * 4, 2, random.Random(seed)))) for seed in range(200)}

    assert len(together) == 6
