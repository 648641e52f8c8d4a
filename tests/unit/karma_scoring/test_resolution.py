"""Resolution keeps four outcomes apart: a tie is no contradiction, and no verdict is no tie."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karma_scoring.resolution import Opinion, resolve

PROBABILITIES = st.floats(0, 1)


def both(first: float | None, second: float | None) -> list[Opinion]:
    """One judge's opinions: P(first shown is better) with a first, and with b first."""
    return [
        Opinion("j", 0, first, None if first is not None else "x"),
        Opinion("j", 1, second, None if second is not None else "y"),
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
    opinions = [*both(1.0, 0.0), Opinion("k", 0, 0.0)]
    assert resolve(opinions).probability == pytest.approx(0.5)


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
