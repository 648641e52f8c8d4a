"""The ways to use the probabilities of labels do what they say."""

from __future__ import annotations

import pytest

from tests.benchmarks.alignment import Recipe
from tests.benchmarks.family_stream import JudgedPair
from tests.benchmarks.soft_labels import USES


def pairs() -> list[JudgedPair]:
    """A fifth is judged; the rest is labeled, half at .6 and half at .95."""
    return [
        JudgedPair(number, "decisive", "a", "b")
        if number % 5 == 0
        else JudgedPair(number, "decisive", "a", "b", "predicted", "", 0.6 if number % 2 else 0.95)
        for number in range(1000)
    ]


def test_sure_and_judged_rows_are_selected() -> None:
    given = pairs()
    assert {pair.probability for pair in USES["at .9"](given, Recipe(), 1)[0]} == {0.95, 1.0}
    assert {pair.source for pair in USES["judged"](given, Recipe(), 1)[0]} == {"judge"}
    assert USES["plain"](given, Recipe(), 1) == (given, Recipe())


def test_the_robust_loss_expects_the_mean_doubt() -> None:
    _, recipe = USES["robust"](pairs(), Recipe(), 1)
    assert recipe.losses == ("robust", "sft")
    assert recipe.label_smoothing == pytest.approx(0.18)


def test_rows_are_drawn_by_what_they_are_worth() -> None:
    rows, _ = USES["weighted"](pairs(), Recipe(), 1)
    assert len(rows) == 1000
    by = {p: sum(pair.probability == p for pair in rows) for p in (0.6, 0.95, 1.0)}
    assert by[0.6] / by[0.95] == pytest.approx(0.2 / 0.9, abs=0.06)
    assert by[1.0] / by[0.95] == pytest.approx(0.5 / 0.9, abs=0.1)
