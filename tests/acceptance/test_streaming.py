"""It streams: resolutions come all the time, and the last soon after the last prompt."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.support.endpoint import Behaviour, pool, serve
from tests.support.pipeline import KARMA, Pipeline


def stream(home: Path, seconds: float, prompts_per_s: float) -> tuple[list[float], float]:
    """Times of resolution of a stream of prompts on standard input, and the time of the last prompt."""
    with serve(Behaviour(latency_ms=50)) as endpoint:
        pipeline = Pipeline(home, pool(endpoint.url))
        with pipeline.up():
            process = subprocess.Popen(
                [*KARMA, "enqueue", "-"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=pipeline.environment
            )
            assert process.stdin is not None
            count = int(seconds * prompts_per_s)
            pace = threading.Event()
            started = time.monotonic()
            for number in range(count):
                pace.wait(max(0.0, started + number / prompts_per_s - time.monotonic()))
                process.stdin.write(json.dumps({"id": f"s{number}", "prompt": f"Say {number}."}).encode() + b"\n")
                process.stdin.flush()
            last_prompt = time.time()
            process.stdin.close()
            assert process.wait(30) == 0
            pipeline.wait_for_end(count, 60)
    with sqlite3.connect(home / "karma.db") as connection:
        times = [row[0] for row in connection.execute("SELECT resolved_at FROM resolutions ORDER BY resolved_at")]
    assert len(times) == count
    return times, last_prompt


def check(times: list[float], last_prompt: float, window_s: float, soon_s: float) -> None:
    start = times[0]
    for window in range(int((last_prompt - start) // window_s)):
        begin = start + window * window_s
        assert any(begin <= moment < begin + window_s for moment in times), f"no resolution in window {window}"
    assert times[-1] - last_prompt < soon_s


def test_resolutions_rise_in_every_window_and_the_last_comes_soon(tmp_path: Path) -> None:
    # Other tests share the cores: the rate is low, so that what is late is late for another reason than their load.
    check(*stream(tmp_path, 15, prompts_per_s=4), window_s=5, soon_s=15)


@pytest.mark.long
@pytest.mark.timeout(400)
def test_three_minutes_of_twenty_prompts_a_second(tmp_path: Path) -> None:
    check(*stream(tmp_path, 180, prompts_per_s=20), window_s=10, soon_s=5)
