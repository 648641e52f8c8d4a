"""One worker's clock is a day off: nothing expires early, nothing hangs, nothing is asked twice."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from karma.queue.heartbeats import WorkerInfo, workers
from karma.queue.redis import CLAIMS_KEY, connect
from tests.support import needs
from tests.support.databases import database
from tests.support.endpoint import Behaviour, pool, serve
from tests.support.pipeline import KARMA, Pipeline, wait_until
from tests.support.verifier import assert_exact, read

PROMPTS = 40  # for each service in turn
DAY_S = 86_400
LIMITS = "[pipeline]\nwindow = 16\nbatch_items = 4\n"

#: The counter that shows that a worker took part, by service.
WORK = {
    "gateway": "karma_prompts_dispatched",
    "scoring": "karma_batches",
    "matching": "karma_batches",
    "generation": "karma_batches",
    "judging": "karma_batches",
}


@pytest.fixture(scope="module")
def faketime() -> Path:
    """The library that shows a process another time, as the package libfaketime carries it."""
    found = sorted(needs.package("libfaketime").rglob("libfaketime.so*"))
    if not found:
        pytest.skip("needs the library of the package libfaketime, which holds none for this system; use Linux")
    return found[0]


@pytest.mark.timeout(250)
@pytest.mark.parametrize(
    ("kind", "days"),
    [
        pytest.param("sqlite", 1, marks=pytest.mark.ci),
        pytest.param("postgresql", -1, marks=pytest.mark.long),
        pytest.param("sqlite", -1, marks=pytest.mark.long),
        pytest.param("postgresql", 1, marks=pytest.mark.long),
    ],
)
def test_a_worker_whose_clock_is_a_day_off_does_its_part(tmp_path: Path, kind: str, days: int, faketime: Path) -> None:
    """A worker of each service in turn, beside one whose clock is right."""
    with database(kind, tmp_path) as url, serve(Behaviour(latency_ms=20)) as endpoint:
        karma = Pipeline(tmp_path, LIMITS + pool(endpoint.url), database_url=url)
        with karma.up():
            redis = connect((tmp_path / "run" / "redis.url").read_text())
            for turn, service in enumerate(WORK, start=1):
                with worker_on_another_day(karma, redis, service, days, faketime) as wrong:
                    karma.enqueue([{"id": f"{service}{n}", "prompt": f"Say {service} {n}."} for n in range(PROMPTS)])
                    wait_until(
                        lambda turn=turn: read(url)["ended"] >= turn * PROMPTS, 60, "all have ended", every_s=0.3
                    )
                    wait_until(lambda: redis.zcard(CLAIMS_KEY) == 0, 10, f"no claim is left with {service}")
                    assert sum(series(wrong, f"{WORK[service]}_total").values()) > 0, f"this {service} did nothing"
                    assert days_off(moments_in(log_path(karma, service))) == {days}, "its clock was right"
                    assert {info.state for info in workers(redis)} == {"ready"}
                    assert resent(redis) == {}, service
        found = assert_exact(url, len(WORK) * PROMPTS)
    assert found["dead"] == found["no_pair"] == found["failed_responses"] == found["failed_verdicts"] == 0, found
    prompts = len(WORK) * PROMPTS
    assert endpoint.calls == {"red": prompts, "blue": prompts, "judge-fair": 2 * prompts}


@contextmanager
def worker_on_another_day(karma: Pipeline, redis: Any, service: str, days: int, faketime: Path) -> Iterator[WorkerInfo]:
    """Another worker of a service, whose clock is days off."""
    clock = {"LD_PRELOAD": str(faketime), "FAKETIME": f"{days * DAY_S:+d}", "DONT_FAKE_MONOTONIC": "1"}
    with log_path(karma, service).open("wb") as log:
        process = subprocess.Popen(
            [*KARMA, "worker", service], stdout=log, stderr=log, env={**karma.environment, **clock}
        )
    try:
        wait_until(lambda: of_process(redis, process.pid), 60, f"another {service} shows life")
        yield of_process(redis, process.pid)[0]
    finally:
        process.terminate()
        process.wait(30)


def log_path(karma: Pipeline, service: str) -> Path:
    """Where the worker on another day writes."""
    return karma.home / "logs" / f"extra-{service}.log"


def moments_in(log: Path) -> list[float]:
    """When the lines of a log were written, by the clock of who wrote them."""
    return [datetime.fromisoformat(json.loads(line)["timestamp"]).timestamp() for line in log.read_text().splitlines()]


def of_process(redis: Any, pid: int) -> list[WorkerInfo]:
    """The worker that runs in a process, if it shows life."""
    return [info for info in workers(redis) if info.pid == pid]


def days_off(moments: Iterable[float]) -> set[int]:
    """By how many days moments that another process has just noted differ from now."""
    return {round((moment - time.time()) / DAY_S) for moment in moments}


def series(worker: WorkerInfo, name: str) -> dict[str, float]:
    """A metric of a worker: labels → value."""
    with urllib.request.urlopen(f"http://127.0.0.1:{worker.metrics_port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = re.findall(rf"^{name}(\{{.*\}})? (\S+)$", text, re.MULTILINE)
    return {labels: float(value) for labels, value in found}


def resent(redis: Any) -> dict[str, float]:
    """Batches that any gateway sent again, by stage and reason."""
    gateways = [info for info in workers(redis) if info.service == "gateway"]
    assert gateways
    found = [series(info, "karma_batches_resent_total") for info in gateways]
    return {labels: n for one in found for labels, n in one.items() if n}
