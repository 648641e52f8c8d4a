"""Workers whose pool file differs from the gateway's are named; all others are not."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from karma.queue.heartbeats import WorkerInfo, new_info
from karma_monitor.conflicts import conflicts, described

GATEWAY = new_info("gateway", 1, (), {"judge.fair": "f1", "judge.strict": "s1", "generate.red": "r1"})
JUDGING = new_info("judging", 1, ("judge.fair",), {"judge.fair": "f1", "judge.strict": "s2"})


def test_a_worker_with_other_settings_is_named_with_what_helps() -> None:
    found = conflicts([GATEWAY, JUDGING])

    assert found == [{"worker": JUDGING.id, "kind": "judge", "name": "strict"}]
    assert described(found) == [
        f"The worker {JUDGING.id} has other settings of the judge strict than the gateway asks for: that work waits. "
        "Start both with the same pool file and templates."
    ]


@pytest.mark.parametrize(
    "alive",
    [
        [JUDGING],
        [GATEWAY, replace(JUDGING, state="silent")],
        [replace(GATEWAY, state="silent"), JUDGING],
        [GATEWAY, replace(JUDGING, specifications={"judge.fair": "f1"})],
        [replace(GATEWAY, specifications={}), JUDGING],
        [GATEWAY, replace(JUDGING, specifications={"judge.unknown": "u1"})],
        [],
    ],
    ids=["no gateway", "silent worker", "silent gateway", "the same", "earlier gateway", "not asked for", "nobody"],
)
def test_nobody_is_blamed_without_two_that_differ(alive: list[WorkerInfo]) -> None:
    assert conflicts(alive) == []
