"""The share of an endpoint's slots in use."""

from __future__ import annotations

import pytest

from tests.support.slots import Spans


def test_calls_one_after_the_other_use_one_slot() -> None:
    spans = Spans()
    for place in range(100):
        spans.add(place, place + 1)
    assert spans.mean_under_way(0.25, 0.75) == pytest.approx(1.0)


def test_pauses_between_calls_lower_the_share_and_calls_at_once_raise_it() -> None:
    spans = Spans()
    for place in range(100):
        for _slot in range(3):
            spans.add(10 * place, 10 * place + 5)
    assert spans.mean_under_way(0.2, 0.8) == pytest.approx(1.5)


def test_a_call_counts_with_what_lies_in_the_middle_of_the_run() -> None:
    spans = Spans()
    for place in range(4):
        spans.add(place, place + 1)
    spans.add(0.0, 100.0)  # ends last: under way all the time
    assert spans.mean_under_way(0.0, 0.6) == pytest.approx(2.0)


def test_a_run_without_a_middle_is_refused() -> None:
    spans = Spans()
    spans.add(0.0, 1.0)
    with pytest.raises(ValueError, match="nothing lies between"):
        spans.mean_under_way(0.25, 0.75)
