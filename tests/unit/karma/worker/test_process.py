"""How many batches a worker of remote models holds, and when its consumer counts as stalled."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karma.queue.heartbeats import new_info
from karma.queue.slots import SLOTS
from karma.worker import process
from karma.worker.process import STALLED_S, HeartbeatThread, slots_of


@given(st.integers(0, 1000))
def test_a_queue_has_one_to_eight_slots_and_all_queues_about_64(queues: int) -> None:
    assert 1 <= slots_of(queues) <= 8
    assert queues * slots_of(queues) <= max(64, queues)


def test_up_to_eight_queues_have_eight_slots_each() -> None:
    assert [slots_of(queues) for queues in (1, 8, 9, 16, 64, 65)] == [8, 8, 7, 4, 1, 1]


class EndedError(Exception):
    """The process would end."""


@pytest.fixture
def limited() -> Iterator[None]:
    SLOTS.limit(1)
    yield
    SLOTS.limit(None)


@pytest.fixture
def heartbeat(monkeypatch: pytest.MonkeyPatch) -> HeartbeatThread:
    """Of a worker that held nothing for a while although work waits in its queues."""

    def end(_code: int) -> None:
        raise EndedError

    def state(_redis: Any, queues: list[str], now: float) -> dict[str, tuple[int, float]]:
        return dict.fromkeys(queues, (3, now))

    monkeypatch.setattr(process, "queue_state", state)
    monkeypatch.setattr(process.os, "_exit", end)
    connections = SimpleNamespace(redis=None, claims=SimpleNamespace(idle_s=STALLED_S + 1))
    made = HeartbeatThread(connections, new_info("generation", 0, ("generate.a", "generate.b")), None)  # type: ignore[arg-type]
    made._stalled_since = -1e9
    return made


def test_a_worker_that_receives_nothing_although_work_waits_ends(heartbeat: HeartbeatThread) -> None:
    with pytest.raises(EndedError):
        heartbeat._end_if_stalled()


def test_work_that_waits_for_a_slot_ends_no_worker(heartbeat: HeartbeatThread, limited: None) -> None:
    for queue in heartbeat.info.queues:
        SLOTS.deliver(queue)
    heartbeat._end_if_stalled()
    SLOTS.forget_delivered("generate.b")
    heartbeat._stalled_since = -1e9
    with pytest.raises(EndedError):
        heartbeat._end_if_stalled()
    SLOTS.forget_delivered("generate.a")
