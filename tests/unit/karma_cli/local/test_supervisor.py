"""The supervisor restarts a worker that ended, and waits before it restarts one whose store is of a newer version."""

from __future__ import annotations

import io
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from karma.config.environment import Environment
from karma.errors import NewerSchemaError
from karma_cli.local.supervisor import Supervisor, _Running
from karma_cli.local.worker_commands import Command
from tests.support.memory import make_pool


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    environment = Environment.read({"KARMA_HOME": str(tmp_path), "KARMA_REDIS_URL": "redis://127.0.0.1:1/0"})
    made = Supervisor(environment, make_pool())
    made.url = "redis://127.0.0.1:1/0"
    monkeypatch.setattr(made, "_spawn", lambda _command, starts, anew: _restarted(starts, anew))
    return made


def _restarted(starts: list[float], anew: bool) -> _Running:
    running = _running(None, *starts, time.monotonic())
    running.process.anew = anew  # type: ignore[attr-defined]
    return running


def _running(code: int | None, *starts: float) -> _Running:
    process: Any = SimpleNamespace(poll=lambda: code, pid=1)
    return _Running(Command("scoring", ("scoring",)), process, io.BytesIO(), list(starts))


@pytest.mark.parametrize(
    ("code", "started_s_ago", "restarted"),
    [
        (1, [1.0], True),
        (1, [20.0 - n for n in range(20)], False),  # again and again: every five seconds
        (1, [40.0 - n for n in range(30)], True),
        (NewerSchemaError.exit_code, [90.0], True),  # a migration under it: the new version may be installed by now
        (NewerSchemaError.exit_code, [20.0], False),
        (NewerSchemaError.exit_code, [31.0], True),
    ],
)
def test_a_worker_is_restarted_but_never_in_a_storm(
    supervisor: Supervisor, code: int, started_s_ago: list[float], restarted: bool
) -> None:
    now = time.monotonic()
    supervisor._running = [_running(code, *(now - seconds for seconds in started_s_ago))]
    events: list[str] = []
    supervisor.check(events.append)
    assert bool(events) == restarted
    assert (supervisor._running[0].process.poll() is None) == restarted
    if restarted:  # only a new interpreter runs a version that was installed meanwhile
        assert supervisor._running[0].process.anew == (code == NewerSchemaError.exit_code)  # type: ignore[attr-defined]
