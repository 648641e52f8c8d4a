"""Resolution keeps four outcomes apart: a tie is no contradiction, and no verdict is no tie."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karma.store.records import VerdictRow
from karma.verdicts import a_is_better, agreement, agreements, opinions, position, resolve, side

PROBABILITIES = st.floats(0, 1)


def both(first: float | None, second: float | None) -> list[VerdictRow]:
    """One judge's verdicts: P(first shown is better) with a first, and with b first."""
    return [
        VerdictRow(1, "j", 0, first, None if first is not None else "x"),
        VerdictRow(1, "j", 1, second, None if second is not None else "y"),
    ]


@pytest.mark.parametrize(
    ("first", "second", "outcome", "probability", "flipped"),
    [
        (1.0, 0.0, "decisive", 1.0, False),
        (0.0, 1.0, "decisive", 0.0, False),
        (0.5, 0.5, "tie", 0.5, False),
        (1.0, 1.0, "inconsistent", 0.5, True),
        (0.0, 0.0, "inconsistent", 0.5, True),
        (0.95, 0.6, "decisive", 0.675, True),
        (1.0, 0.5, "decisive", 0.75, False),
        (0.9, None, "decisive", 0.9, None),
        (None, 0.9, "decisive", 0.1, None),
        (None, None, "unscored", None, None),
    ],
)
def test_two_orders_come_to_one_outcome(
    first: float | None, second: float | None, outcome: str, probability: float | None, flipped: bool | None
) -> None:
    resolved = resolve(both(first, second))
    assert (resolved.outcome, resolved.flipped) == (outcome, flipped)
    assert resolved.probability == (None if probability is None else pytest.approx(probability))


def test_an_unscored_pair_says_why() -> None:
    assert resolve(both(None, None)).reason == "x; y"


def test_a_judge_who_saw_one_order_weighs_as_much_as_one_who_saw_both() -> None:
    verdicts = [*both(1.0, 0.0), VerdictRow(1, "k", 0, 0.0, None)]
    assert resolve(verdicts).probability == pytest.approx(0.5)


@given(PROBABILITIES, PROBABILITIES)
def test_swapping_the_responses_swaps_the_outcome(first: float, second: float) -> None:
    one, other = resolve(both(first, second)), resolve(both(second, first))
    assert one.outcome == other.outcome
    assert one.flipped == other.flipped
    assert one.probability == pytest.approx(1 - (other.probability or 0.0), abs=1e-9)


@given(PROBABILITIES, PROBABILITIES)
def test_an_outcome_that_takes_no_side_is_never_decisive(first: float, second: float) -> None:
    resolved = resolve(both(first, second))
    assert (resolved.outcome == "decisive") == (abs((resolved.probability or 0.0) - 0.5) > 0.05 + 1e-9)


def given(*verdicts: tuple[str, int, float | None]) -> list[VerdictRow]:
    return [VerdictRow(1, judge, shown, p, None if p is not None else "x") for judge, shown, p in verdicts]


def test_the_margin_decides_which_judges_take_a_side() -> None:
    verdicts = given(("i", 0, 0.62), ("j", 0, 0.95), ("k", 0, 0.40))
    assert [one.side for one in opinions(verdicts, 0.2)] == ["none", "a", "none"]
    assert agreement(opinions(verdicts, 0.2)) is None
    assert resolve(verdicts, 0.2).outcome == "tie"
    assert [one.side for one in opinions(verdicts, 0.05)] == ["a", "a", "b"]
    assert agreement(opinions(verdicts, 0.05)) == pytest.approx(1 / 3)
    assert agreements(opinions(verdicts, 0.05)) == [("i", "j", True), ("i", "k", False), ("j", "k", False)]


def test_a_position_is_preferred_whichever_response_stands_there() -> None:
    assert [position(p) for p in (0.9, 0.1, 0.52)] == ["first", "second", "none"]
    assert [side(a_is_better(0.9, shown)) for shown in (0, 1)] == ["a", "b"]


def test_one_order_is_no_opinion_over_both() -> None:
    (one,) = opinions(given(("j", 0, 0.9), ("j", 1, None)))
    assert (one.both_orders, one.flipped, one.side) == (False, False, "a")
