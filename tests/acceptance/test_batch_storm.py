"""Batch jobs in a whole pipeline: workers are killed, Redis is emptied, and nothing is asked twice or lost."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from karma.store import Store
from tests.support.batch_endpoint import BatchEndpoint, serve
from tests.support.pipeline import Pipeline, redis_of, wait_until

pytestmark = pytest.mark.server


def pool(url: str) -> str:
    model = f'backend = "openai"\nbase_url = "{url}"\nbatch = true\nbatch_wait_s = 1.0\nbatch_poll_s = 1.0\n'
    price = "price = { input = 1000.0, output = 2000.0 }\n"
    return (
        f'[models.red]\nmodel = "red"\n{model}{price}[models.blue]\nmodel = "blue"\n{model}{price}'
        f'[judges.fair]\nkind = "openai"\n[judges.fair.model]\nmodel = "judge-fair"\n{model}{price}'
        '[stream]\ngoal = "label"\n[pipeline]\nclaim_silence_s = 4\npublish_grace_s = 2\n'
    )


def storm(home: Path, endpoint: BatchEndpoint, prompts: int, kills: int, flushes: int) -> None:
    karma = Pipeline(home, pool(endpoint.url))
    with karma.up():
        karma.enqueue([{"id": str(number), "prompt": f"Say {number}."} for number in range(prompts)])
        wait_until(lambda: endpoint.jobs, 60, "a job was created")
        wait_until(lambda: karma.status()["models"]["red"]["batch_jobs"], 20, "the status shows the jobs")
        faults = ["kill"] * kills
        for number in range(flushes):
            faults.insert((number + 1) * len(faults) // (flushes + 1) + 1, "flush")
        for fault in faults:
            if fault == "kill":
                wait_until(lambda: kill_those_that_ask(karma), 60, "a worker was killed")
            else:
                with redis_of(karma._found()) as redis:
                    assert redis is not None
                    redis.flushall()
            time.sleep(4)
        karma.wait_for_end(prompts, 280)
    store = Store(karma._found().database)
    try:
        with store.reading() as transaction:
            rows = transaction.ledger.connection
            count = {name: rows.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() for name in _TABLES}
            failures = rows.execute(text("SELECT failure FROM responses WHERE failure IS NOT NULL")).all()
            failures += rows.execute(text("SELECT failure FROM verdicts WHERE failure IS NOT NULL")).all()
            spent = rows.execute(text("SELECT sum(cost_usd), sum(calls) FROM spending")).one()
    finally:
        store.close()
    assert endpoint.doubled == []
    assert set(endpoint.answered.values()) == {1}
    assert failures == []
    assert (count["responses"], count["resolutions"], count["work_items"]) == (2 * prompts, prompts, 0)
    assert count["verdicts"] == 2 * prompts
    calls = 4 * prompts
    assert (endpoint.answered.total(), spent[1]) == (calls, calls)
    # 10 tokens read and 5 written, at half of the price.
    assert spent[0] == pytest.approx(calls * 0.5 * (10 * 1000 + 5 * 2000) / 1e6)


def kill_those_that_ask(karma: Pipeline) -> int:
    """SIGKILL the workers of generation and judging; returns how many there were."""
    killed = 0
    for worker in [*karma.workers("generation"), *karma.workers("judging")]:
        with suppress(ProcessLookupError):  # of the last kill, and not yet forgotten
            os.kill(worker.pid, signal.SIGKILL)
            killed += 1
    return killed


_TABLES = ("responses", "verdicts", "resolutions", "work_items")


def test_a_killed_worker_and_a_lost_redis_ask_nothing_twice(tmp_path: Path) -> None:
    with serve(takes_s=5) as endpoint:
        storm(tmp_path, endpoint, prompts=40, kills=1, flushes=1)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_ten_kills_and_two_lost_redis_ask_nothing_twice(tmp_path: Path) -> None:
    with serve(takes_s=8, failed_share=0.02, expiring=2, expired_share=0.3) as endpoint:
        storm(tmp_path, endpoint, prompts=500, kills=10, flushes=2)
