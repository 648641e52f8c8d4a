"""Every kind of worker is killed in mid-run, and Redis is emptied: every prompt still ends exactly once."""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path

import pytest

from karma.broker import connect
from karma.registry import workers
from tests.acceptance.test_endpoint_pipeline import pool
from tests.support.endpoint import Behaviour, serve
from tests.support.pipeline import Pipeline, wait_until

PROMPTS = 260
LIMITS = "[pipeline]\nwindow = 64\nclaim_silence_s = 5\npublish_grace_s = 2\nbatch_items = 8\n"


@pytest.mark.timeout(280)
def test_killed_workers_and_an_emptied_redis_lose_and_double_nothing(tmp_path: Path) -> None:
    with serve(Behaviour(latency_ms=200)) as endpoint:
        slowly = pool(endpoint.url).replace('backend = "openai"', 'backend = "openai"\nconcurrency = 2')
        karma = Pipeline(tmp_path, LIMITS + slowly)
        with karma.up():
            redis = connect((karma.home / "run" / "redis.url").read_text())
            karma.enqueue([{"id": f"k{n}", "prompt": f"Say {n}."} for n in range(PROMPTS)])
            done = 0
            for service in ("generation", "scoring", "matching", "judging", "gateway", "redis"):
                wait_until(lambda done=done: karma.status()["prompts"]["done"] > done, 60, f"progress before {service}")
                done = karma.status()["prompts"]["done"]
                if service == "redis":
                    redis.flushall()
                    continue
                alive = [info for info in workers(redis) if info.service == service and info.state == "ready"]
                os.kill(alive[0].pid, signal.SIGKILL)
            status = karma.wait_for_end(PROMPTS, 150)
    assert done < PROMPTS, "the last fault came after the end"
    assert status["prompts"]["done"] == PROMPTS
    assert sum(status["resolutions"].values()) == PROMPTS
    with sqlite3.connect(tmp_path / "karma.db") as database:

        def count(query: str) -> int:
            return int(database.execute(query).fetchone()[0])

        assert count("SELECT count(*) FROM work_items") == 0
        assert count("SELECT count(*) FROM responses") == 2 * PROMPTS
        assert count("SELECT count(*) FROM responses WHERE failure IS NOT NULL") == 0
        assert count("SELECT count(*) FROM resolutions") == count("SELECT count(*) FROM pairs") == PROMPTS
        assert count("SELECT count(*) FROM verdicts") == 2 * PROMPTS
        assert count("SELECT sum(wins_a + wins_b + ties) FROM competency_counts") == count(
            "SELECT count(*) FROM resolutions WHERE outcome IN ('decisive', 'tie')"
        )
