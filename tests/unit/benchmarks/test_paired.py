"""Ratios with their spread."""

from __future__ import annotations

import math

import pytest

from tests.benchmarks.paired import ratio


def test_the_interval_of_a_ratio_is_that_of_the_mean_logarithm() -> None:
    found = ratio([2.0, 8.0], [1.0, 2.0])
    assert found.mean == pytest.approx(math.sqrt(2.0 * 4.0))
    half = 12.7062 * (math.log(4.0) - math.log(2.0)) / 2  # Student's t at 97.5 %, one degree of freedom
    assert found.low == pytest.approx(found.mean * math.exp(-half), rel=1e-4)
    assert found.high == pytest.approx(found.mean * math.exp(half), rel=1e-4)


def test_equal_ratios_have_no_spread_whatever_the_machine_did_meanwhile() -> None:
    found = ratio([1.0, 3.0, 10.0], [2.0, 6.0, 20.0])
    assert (found.low, found.mean, found.high) == pytest.approx((0.5, 0.5, 0.5))


def test_a_single_pair_has_a_ratio_and_no_interval() -> None:
    found = ratio([3.0], [2.0])
    assert (found.mean, found.low, found.high) == (pytest.approx(1.5), None, None)
    assert str(found) == "1.500 (once)"


@pytest.mark.parametrize(("ours", "theirs"), [([], []), ([1.0], [0.0]), ([-1.0], [1.0])])
def test_what_has_no_ratio_is_refused(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        ratio(ours, theirs)
