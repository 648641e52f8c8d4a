"""The gateway's rounds: a periodic task takes no more than its share of a core, and an outage is logged once."""

from __future__ import annotations

import time

import pytest

from karma.errors import OutageError, StoreOutageError
from karma.worker.retry import Shutdown
from karma_gateway import worker
from karma_gateway.worker import PeriodicTask, _repeat


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


def test_an_outage_that_lasts_is_logged_once_and_the_next_one_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_OUTAGE_WAIT_S", 0.01)
    shutdown = Shutdown(limit_s=0.0)
    rounds: list[OutageError | None] = [
        StoreOutageError("the store is locked"),
        StoreOutageError("the store is locked"),
        None,
        StoreOutageError("the store is locked"),
    ]

    def round_() -> None:
        if not rounds:
            shutdown.request()
        elif error := rounds.pop(0):
            raise error

    _repeat(round_, shutdown)
    logged = [record.getMessage() for record in caplog.records]
    assert logged == ["the gateway waits: the store is locked"] * 2
