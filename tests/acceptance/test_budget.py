"""A budget with real workers ends where it should, goes on once raised, and `--estimate` is near what then is paid."""

from __future__ import annotations

import pytest

from tests.benchmarks.budget import measure

WORKERS = 6
CALLS_AT_ONCE = 8  # of each


@pytest.mark.long
def test_a_budget_ends_within_the_calls_in_flight_and_nothing_fails() -> None:
    found = measure(WORKERS, number=120, estimated=120, budget=0.3)
    assert found["over_usd"] >= 0.0
    assert found["over_calls"] <= WORKERS * CALLS_AT_ONCE
    assert not any(found["failed_at_budget"].values())
    assert found["prompts_done_after_raise"] == 120
    assert not any(found["failed_after_raise"].values())
    assert found["dead"] == 0
    assert abs(found["estimate_error"]) < 0.15
    assert found["estimate_low_usd"] <= found["cost_usd"] <= found["estimate_high_usd"]
