"""What a worker reads: a real Celery worker with threads on a real Redis, and the lanes of a queue."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from karma.messages import GenerateBatch, GenerateItem, Header, MatchBatch, MatchItem
from karma.messages.lanes import new_batch_id
from karma.messages.wire import decode
from karma.queue.backlog import priority_list, queue_state
from karma.queue.celery_app import Publisher, create_app
from karma.queue.heartbeats import workers
from karma.worker.process import STALLED_S
from tests.support.pipeline import ROOT, wait_until

SLOTS = 8


class Worker:
    """A generation worker of two models that a test holds up."""

    def __init__(self, redis: Any) -> None:
        self.redis = redis
        self._publisher = Publisher(redis)

    def ask(self, model: str, batches: int) -> None:
        items = (GenerateItem(1, 1, 0, 0, ()),)
        self._publisher.publish(
            [
                GenerateBatch(
                    header=Header(stream="s", batch=new_batch_id(), token="t"),
                    model=model,
                    specification="f",
                    items=items,
                )
                for _batch in range(batches)
            ]
        )

    def count(self, name: str) -> Counter[str]:
        return Counter(raw.decode() for raw in self.redis.lrange(name, 0, -1))


@pytest.fixture
def worker(redis: Any, redis_url: str, tmp_path: Path) -> Iterator[Worker]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("KARMA_")},
        "KARMA_HOME": str(tmp_path),
        "KARMA_REDIS_URL": redis_url,
        "KARMA_METRICS_PORT": "0",
        "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in ("", "shared", "services")),
    }
    command = [sys.executable, "-m", "tests.support.slow_model", "stuck", "well"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        wait_until(lambda: workers(redis) or process.poll() is not None, 60, "the worker is ready")
        yield Worker(redis)
        assert process.poll() is None, (tmp_path / "log").read_text()
    finally:
        process.kill()
        process.wait()


def test_a_model_that_never_answers_holds_its_own_slots_and_the_other_is_read_at_once(worker: Worker) -> None:
    """200 batches of 5 ms in 8 slots: a queue that were read again only with the next poll would take 25 s."""
    worker.redis.set("hold:stuck", 1)
    worker.ask("stuck", 30)
    wait_until(lambda: worker.count("started")["stuck"] == SLOTS, 30, "the slots of the stuck model are in use")
    worker.ask("well", 200)
    wait_until(lambda: worker.count("ended")["well"] == 200, 12, "all of the other model is answered")
    assert worker.count("started") == {"stuck": SLOTS, "well": 200}
    assert queue_state(worker.redis, ["generate.stuck"], 0.0)["generate.stuck"][0] == 30 - SLOTS


def test_a_worker_whose_queues_are_all_full_reads_nothing_lives_on_and_goes_on_at_once(worker: Worker) -> None:
    for model in ("stuck", "well"):
        worker.redis.set(f"hold:{model}", 1)
        worker.ask(model, 60)
    wait_until(lambda: worker.count("started") == {"stuck": SLOTS, "well": SLOTS}, 30, "all slots are in use")
    end = time.monotonic() + 2 * STALLED_S
    while time.monotonic() < end:
        assert worker.count("started").total() == 2 * SLOTS
        time.sleep(0.5)
    worker.redis.delete("hold:well")
    wait_until(lambda: worker.count("ended")["well"] == 60, 5, "the model that answers again is read")
    assert worker.count("started")["stuck"] == SLOTS
    worker.redis.delete("hold:stuck")
    wait_until(lambda: worker.count("ended") == {"stuck": 60, "well": 60}, 5, "both are read")


@pytest.fixture
def read(redis_url: str) -> Iterator[Any]:
    """Reads the next message of the queue `match`, as Celery's consumer does."""
    app = create_app(redis_url)
    got: list[str] = []
    with app.connection_for_read() as connection:
        channel = connection.channel()
        channel.basic_consume(
            "match", no_ack=True, callback=lambda message: got.append(message.decode()[0][0]), consumer_tag="t"
        )

        def next_() -> str:
            connection.drain_events(timeout=5)
            return decode(got.pop()).header.stream

        yield next_


def send(redis: Any, *batches: tuple[str, int, bool]) -> None:
    """Messages of these names, priorities and lanes."""
    Publisher(redis).publish(
        [
            MatchBatch(
                header=Header(stream=name, batch=new_batch_id(express), token="t", priority=priority),
                items=(MatchItem(1, 1),),
            )
            for name, priority, express in batches
        ]
    )


def test_the_express_lane_overtakes_its_priority_and_the_normal_lane_has_every_second_turn(
    redis: Any, read: Any
) -> None:
    send(redis, *((f"n{n}", 0, False) for n in range(5)), *((f"x{n}", 0, True) for n in range(3)))
    send(redis, ("high", 1, False), ("highest", 9, False), ("express", 9, True))
    assert [read() for _message in range(11)] == [
        "express", "highest", "high", "x0", "n0", "x1", "n1", "x2", "n2", "n3", "n4",
    ]  # fmt: skip


def test_a_stock_celery_reads_what_the_publisher_writes_and_writes_the_same_headers(redis: Any, redis_url: str) -> None:
    send(redis, ("one", 9, False))
    app = Celery(broker=redis_url, set_as_current=False)
    app.conf.broker_transport_options = {"ack_emulation": False}
    read: list[Any] = []
    with app.connection_for_read() as connection:
        channel = connection.channel()
        channel.basic_consume("match", no_ack=True, callback=read.append, consumer_tag="t")
        connection.drain_events(timeout=5)
        app.send_task("karma.match", args=["sealed"], queue="match", ignore_result=True, priority=0)
        connection.drain_events(timeout=5)
    ours, theirs = read
    (sealed,), keywords, embedded = ours.decode()
    assert decode(sealed).header.stream == "one"
    assert [keywords, embedded] == theirs.decode()[1:]
    assert (ours.headers.keys(), ours.properties.keys()) == (
        theirs.headers.keys(),
        theirs.properties.keys() - {"reply_to"},
    )
    assert ours.headers["id"] == ours.properties["correlation_id"] == ours.headers["root_id"]


@pytest.mark.parametrize("priority", range(10))
def test_each_lane_of_each_priority_is_a_list_of_its_own_that_is_counted(redis: Any, priority: int) -> None:
    send(redis, ("normal", priority, False), ("express", priority, True))
    lists = {priority_list("match", priority), priority_list("match", priority, express=True)}
    assert {raw.decode() for raw in redis.keys("match*")} == lists
    assert queue_state(redis, ["match"], 0.0)["match"][0] == 2
