"""Redis is out of memory: what is refused waits, and nothing is dropped, asked twice or stuck."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from karma.queue.redis import connect
from karma_cli.local.redis_server import RedisServer
from tests.support.endpoint import Behaviour, Endpoint, pool, serve
from tests.support.pipeline import Pipeline, wait_until
from tests.support.verifier import assert_exact

MIB = 1 << 20
SILENCE_S = 5
LIMITS = f"[pipeline]\nwindow = 512\nplan_prompts = 128\nclaim_silence_s = {SILENCE_S}\npublish_grace_s = 2\n"


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """A Redis that no supervisor owns."""
    server = RedisServer(tmp_path / "redis")
    yield server.start()
    server.stop()


def large(count: int) -> list[dict]:
    """Prompts of 8 KB each."""
    return [{"id": f"m{n}", "prompt": f"Say {n}. " + f"{n:08d}" * 1024} for n in range(count)]


def refusals(redis: Any) -> int:
    """Commands that Redis refused for want of memory."""
    found = redis.info("errorstats").get("errorstat_OOM", {"count": 0})
    return int(found["count"])


def used(redis: Any) -> int:
    return int(redis.info("memory")["used_memory"])


def done(karma: Pipeline) -> int:
    """Counted in the database: `karma status` is for people, and slower."""
    with sqlite3.connect(karma.home / "karma.db") as database:
        return int(database.execute("SELECT count(*) FROM prompts WHERE state = 'done'").fetchone()[0])


def assert_nothing_was_lost_or_asked_twice(karma: Pipeline, endpoint: Endpoint, prompts: int) -> None:
    """Nobody died: each answer and each verdict was paid for once."""
    found = assert_exact(f"sqlite:///{karma.home / 'karma.db'}", prompts)
    assert found["dead"] == found["no_pair"] == found["failed_responses"] == found["failed_verdicts"] == 0, found
    assert endpoint.calls == {"red": prompts, "blue": prompts, "judge-fair": 2 * prompts}


@pytest.mark.ci
@pytest.mark.timeout(200)
def test_memory_that_runs_short_in_mid_run_delays_and_loses_nothing(tmp_path: Path, redis_url: str) -> None:
    """First a limit just above what is used, under which work goes on; then one that refuses every write; then none."""
    prompts = 600
    redis = connect(redis_url)
    with serve(Behaviour(latency_ms=100)) as endpoint:
        karma = Pipeline(tmp_path / "home", LIMITS + pool(endpoint.url), redis_url=redis_url)
        with karma.up():
            karma.enqueue(large(prompts))
            wait_until(lambda: done(karma) > 50, 60, "the run is under way", every_s=0.1)
            before = done(karma)
            redis.config_set("maxmemory", used(redis) + MIB // 16)
            wait_until(lambda: done(karma) > before + 150, 60, "progress while memory is short", every_s=0.1)
            redis.config_set("maxmemory", 1)
            refused, since = refusals(redis), redis.time()[0]
            assert done(karma) < prompts, "memory was full only after the end"
            # A claim would fall silent in this time, and three attempts would be spent.
            wait_until(lambda: redis.time()[0] > since + 3 * SILENCE_S, 60, "time passes", every_s=0.5)
            assert refusals(redis) > refused + 10
            redis.config_set("maxmemory", 0)
            karma.wait_for_end(prompts, 90)
    assert_nothing_was_lost_or_asked_twice(karma, endpoint, prompts)


@pytest.mark.ci
@pytest.mark.timeout(200)
def test_a_redis_too_small_for_what_waits_carries_all_of_it(tmp_path: Path, redis_url: str) -> None:
    """6 MB for 600 prompts of 8 KB, each of which travels four times, and never more."""
    prompts = 600
    redis = connect(redis_url)
    redis.config_set("maxmemory", 6 * MIB)
    with serve(Behaviour()) as endpoint:
        karma = Pipeline(tmp_path / "home", pool(endpoint.url), redis_url=redis_url)
        with karma.up():
            karma.enqueue(large(prompts))
            karma.wait_for_end(prompts, 150)
            assert redis.info("stats")["evicted_keys"] == 0
    assert_nothing_was_lost_or_asked_twice(karma, endpoint, prompts)
