"""A periodic task takes no more than its share of a core, unless it found work."""

from __future__ import annotations

import time

import pytest

from karma_gateway.worker import PeriodicTask


@pytest.mark.parametrize(("found_work", "runs"), [(False, 1), (True, 2)])
def test_a_costly_run_delays_the_next_one_unless_it_found_work(found_work: bool, runs: int) -> None:
    started_at: list[float] = []

    def costly() -> bool:
        started = time.thread_time()
        while time.thread_time() < started + 0.02:
            pass
        started_at.append(started)
        return found_work

    task = PeriodicTask(costly, every_s=0.0, max_share=1e-5)
    task.run_if_due()
    task.run_if_due()
    assert len(started_at) == runs
