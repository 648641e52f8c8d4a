"""Each stage scales on its own: one worker to three and back, under load, the others untouched."""

from __future__ import annotations

import json
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from karma.queue.heartbeats import WorkerInfo
from tests.support.endpoint import Behaviour, pool, serve
from tests.support.pipeline import KARMA, Pipeline, wait_until

SERVICES = {
    "gateway": (),
    "generation": ("--models", "red,blue"),
    "scoring": (),
    "matching": (),
    "judging": ("--judges", "fair"),
}
PROMPTS_PER_S = 10


class Feed:
    """Prompts on the standard input of `karma enqueue`, steadily, until closed."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.sent = 0
        self._process = subprocess.Popen(
            [*KARMA, "enqueue", "-"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=pipeline.environment
        )
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        assert self._process.stdin is not None
        while not self._closed.wait(1 / PROMPTS_PER_S):
            self._process.stdin.write(
                json.dumps({"id": f"f{self.sent}", "prompt": f"Say {self.sent}."}).encode() + b"\n"
            )
            self._process.stdin.flush()
            self.sent += 1
        self._process.stdin.close()

    def close(self) -> int:
        self._closed.set()
        self._thread.join()
        assert self._process.wait(30) == 0
        return self.sent


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    with serve(Behaviour(latency_ms=20)) as endpoint:
        pipeline = Pipeline(tmp_path_factory.mktemp("scaling"), pool(endpoint.url))
        with pipeline.up():
            yield pipeline


def work_done(info: WorkerInfo) -> float:
    """Batches that a worker finished, or prompts that a gateway dispatched, from its own /metrics."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{info.metrics_port}/metrics", timeout=5).read().decode()
    wanted = "karma_prompts_dispatched_total{" if info.service == "gateway" else "karma_batches_total{"
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith(wanted) and ('result="done"' in line or info.service == "gateway")
    )


@pytest.mark.ci
def test_each_service_goes_from_one_worker_to_three_and_back(running: Pipeline) -> None:
    feed = Feed(running)
    try:
        for service, options in SERVICES.items():
            others = {info.id for name in SERVICES if name != service for info in running.workers(name)}
            extra = running.start_workers(service, 2, *options)
            assert len(running.workers(service)) == 3
            before = {info.id: work_done(info) for info in running.workers(service)}
            wait_until(
                lambda service=service, before=before: all(
                    work_done(info) > before[info.id] for info in running.workers(service)
                ),
                60,
                f"all three {service} workers did some of the work",
                every_s=0.2,
            )
            for worker in extra:
                running.stop_worker(worker)
                assert worker.returncode == 0
            assert len(running.workers(service)) == 1
            assert others == {info.id for name in SERVICES if name != service for info in running.workers(name)}
    finally:
        sent = feed.close()
    status = running.wait_for_end(sent)
    assert status["prompts"]["done"] == sent
    assert status["prompts"]["dead"] == 0
    assert sum(status["resolutions"].values()) == sent


@pytest.mark.ci
def test_nothing_was_left_open(running: Pipeline) -> None:
    import sqlite3

    with sqlite3.connect(Path(running.home) / "karma.db") as connection:
        assert connection.execute("SELECT count(*) FROM work_items").fetchone()[0] == 0
