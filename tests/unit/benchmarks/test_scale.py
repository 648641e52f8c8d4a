"""The stores that are compared, and rates in the middle of a run."""

from __future__ import annotations

import pytest

from tests.benchmarks.scale import decades
from tests.benchmarks.workers import middle_rate, slow_pool


def test_stores_grow_tenfold_from_a_thousand_prompts() -> None:
    assert decades(1_000_000) == [1_000, 10_000, 100_000, 1_000_000]
    assert decades(99_999) == [1_000, 10_000]
    with pytest.raises(SystemExit, match="expected 1000 or more"):
        decades(10)


def test_a_rate_leaves_out_the_ends_of_a_run() -> None:
    begin, middle, end = [0.0, 9.0], [10.0 + place / 2 for place in range(96)], [100.0, 200.0]
    assert middle_rate([*end, *middle, *begin]) == pytest.approx(2.0)


@pytest.mark.parametrize("stage", ["generation", "judging"])
def test_one_table_of_a_pool_is_waited_for(stage: str) -> None:
    assert slow_pool(stage).count('"slow"') == 1
