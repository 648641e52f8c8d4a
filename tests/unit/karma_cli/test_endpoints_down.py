"""A model or judge that is not called is named, with the reason, by `karma status` and by a command that waits."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from karma.config.environment import Environment
from karma.config.pool import Pool
from karma_cli import stream_end
from karma_cli.commands.status import tables
from karma_monitor.figures import limits as limits_of
from karma_monitor.status import status
from tests.support.memory import ENDPOINT
from tests.support.stores import memory

POOL = Pool.from_tables(
    {"models": {name: {**ENDPOINT, "model": name} for name in ("red", "blue")}, "judges": {"fair": {"kind": "prior"}}},
    Path("pool.toml"),
)
CLOSED = {"breaker": "closed", "reason": None, "open_s": None, "probe_in_s": None}


def opened(seconds: float) -> dict[str, Any]:
    return {"breaker": "open", "reason": "out of quota: 429", "open_s": seconds, "probe_in_s": 4.0}


def test_status_says_which_model_is_not_called_and_why() -> None:
    state = status(memory(), None, POOL)
    state["models"] = {"red": state["models"]["red"] | opened(12.0), "blue": state["models"]["blue"] | CLOSED}
    console = Console(width=300, no_color=True)
    with console.capture() as shown:
        console.print(tables(state))
    said = "The model red has not been called for 12 s: out of quota: 429; the next call tries in 4 s."
    assert said in shown.get()
    assert "blue has not" not in shown.get()


def test_status_says_limits_open_batch_jobs_the_cost_and_where_a_stream_ends() -> None:
    state = status(memory(), None, POOL)
    jobs = {"jobs": 2, "requests": 500, "gathered": 20}
    state["models"]["red"] |= {**CLOSED, "rate_limit": "600 requests/min", "batch_jobs": jobs}
    state |= {"cost_usd": 1.25, "until": {"s": {"preferences": 1000, "most_prompts": 70}}}
    console = Console(width=300, no_color=True)
    with console.capture() as shown:
        console.print(tables(state))
    for said in (
        "red: 600 requests/min",
        "red: 2 batch jobs at the provider, 500 requests wait for them; 20 requests are in no job yet",
        "cost of all calls so far: 1.2500 USD",
        "s ends at 1,000 preferences, or with 70 prompts (karma enqueue --until)",
    ):
        assert said in shown.get()


def test_a_command_that_waits_says_it_once_until_calls_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    limits: dict[str, dict[str, Any]] = {}
    monkeypatch.setattr(stream_end, "_LOOK_S", 0.0)
    monkeypatch.setattr(stream_end, "connect", lambda _url: nullcontext())
    monkeypatch.setattr(stream_end, "RedisClock", lambda _redis: lambda: 0.0)
    monkeypatch.setattr(limits_of, "endpoint_limits", lambda *_: limits)
    env = Environment.read({"KARMA_HOME": str(tmp_path), "KARMA_REDIS_URL": "redis://127.0.0.1:1"})
    look = stream_end.endpoint_notice(env, POOL)
    said = []
    for red in (CLOSED, opened(1.0), opened(11.0), opened(13.0), CLOSED, opened(1.0), opened(12.0)):
        limits.update(red=red, blue=CLOSED)
        look()
        said.append(capsys.readouterr().err.count("The model red has not been called"))
    assert said == [0, 0, 1, 0, 0, 0, 1]
