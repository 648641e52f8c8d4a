"""The source of a pair's verdicts, and the scale of verdicts given in both orders."""

from __future__ import annotations

import pytest

from karma.ranking.verdict_sources import JUDGE, ORDERS, PROBE, scale_of, source_of
from karma.store.records import VerdictRow


def verdict(judge: str, shown: int, probability: float | None) -> VerdictRow:
    return VerdictRow(1, judge, shown, probability, "failed" if probability is None else None)


@pytest.mark.parametrize(
    ("given", "source"),
    [
        ([("j", 0, 1.0), ("j", 1, 1.0)], ORDERS),  # a contradiction
        ([("j", 0, 1.0), ("j", 1, 0.0)], ORDERS),
        ([("j", 0, 0.5), ("j", 1, 0.0)], ORDERS),
        ([("j", 0, 0.97), ("j", 1, 0.0)], JUDGE),  # a probability: the label is the side of the mean
        ([("j", 0, 1.0)], JUDGE),
        ([("j", 0, 1.0), ("j", 1, None)], JUDGE),
        ([("j", 0, 1.0), ("j", 1, 0.0), ("k", 0, 1.0), ("k", 1, 0.0)], JUDGE),  # a jury
        ([("v", 0, 1.0), ("j", 0, None)], PROBE),
        ([("v", 0, 1.0), ("j", 0, 1.0)], JUDGE),
        ([("v", 0, 1.0), ("w", 0, 0.5)], PROBE),
    ],
)
def test_the_source_is_who_judged_and_how(given: list[tuple[str, int, float | None]], source: str) -> None:
    assert source_of([verdict(*each) for each in given], {"v", "w"}) == source


def test_two_orders_count_double_at_most() -> None:
    """From a second verdict that repeats the first, ν = 0, to independent ones, ν ≥ 2."""
    assert [scale_of(ORDERS, tie) for tie in (0.0, 1.0, 2.0, 7.0)] == [1.0, 1.5, 2.0, 2.0]
    assert scale_of(JUDGE, 3.0) == scale_of(PROBE, 3.0) == 1.0
