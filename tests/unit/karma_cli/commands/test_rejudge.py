"""A judge that the running gateway does not know as the pool file has it is refused, before anything is derived."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from karma.errors import SettingsError
from karma.queue.heartbeats import WorkerInfo, new_info
from karma_cli.commands.derived.rejudge import check_gateways
from tests.support.memory import make_pool

POOL = make_pool("ab")
GATEWAY = new_info("gateway", 1, (), {"judge.j": POOL.judge_fingerprints["j"]})


@pytest.mark.parametrize(
    ("known", "said"),
    [({"judge.i": "0"}, "does not have the judge 'j'"), ({"judge.j": "0"}, "has other settings of the judge 'j'")],
)
def test_a_judge_that_what_runs_does_not_know_is_refused(known: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=f"the gateway that runs {said}.*karma down, then karma up"):
        check_gateways([replace(GATEWAY, specifications=known)], POOL, ["j"])


@pytest.mark.parametrize(
    "alive",
    [
        [],
        [GATEWAY],
        [replace(GATEWAY, specifications={})],
        [replace(GATEWAY, specifications={"judge.j": "0"}, state="silent")],
        [new_info("judging", 1, (), {"judge.j": "0"})],
    ],
    ids=["nothing runs", "the same", "an earlier version", "a silent one", "another service"],
)
def test_nothing_else_is_refused(alive: list[WorkerInfo]) -> None:
    check_gateways(alive, POOL, ["j"])
