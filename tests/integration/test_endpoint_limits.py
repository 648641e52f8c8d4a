"""Limits of endpoints through a real Redis, and a real pipeline beside endpoints that are down or spent."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from karma.errors import BrokerOutageError
from karma.limits.state import Report, Settings, endpoint_of
from karma.llm.completions import ChatRequest
from karma.llm.openai import ChatClient
from karma.messages import ModelSpec, Turn
from karma.queue.endpoint_limits import EndpointLimits, closed_to_work, read_limits
from karma.queue.redis import RedisClock, connect
from tests.support import needs
from tests.support.endpoint import Behaviour, Endpoint, serve
from tests.support.pipeline import Pipeline, wait_until
from tests.support.redis_server import Redis

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Redis]:
    running = Redis(tmp_path / "redis")
    running.start()
    yield running
    running.stop(signal.SIGKILL)


def limits(server: Redis, process: str) -> EndpointLimits:
    redis = connect(server.url)
    return EndpointLimits(redis, process, RedisClock(redis))


def test_many_processes_that_exchange_at_once_never_have_more_than_the_limit(server: Redis) -> None:
    settings, slots = Settings(slots=10), {}

    def take(process: str) -> None:
        own = limits(server, process)
        turns = 0
        while turns < 20:
            with suppress(BrokerOutageError):  # others were faster; a gate exchanges again, too
                slots[process] = own.exchange("e", Report(slots.get(process, 0), 5), settings).slots
                turns += 1

    threads = [threading.Thread(target=take, args=(f"p{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert 8 <= sum(slots.values()) <= 10


def test_after_flushall_a_limit_begins_empty_and_all_go_on(server: Redis) -> None:
    one, other = limits(server, "one"), limits(server, "other")
    settings = Settings(slots=5, requests_per_minute=60)
    one.exchange("e", Report(waiting=5), settings)
    connect(server.url).flushall()

    granted = other.exchange("e", Report(waiting=50), settings)
    again = one.exchange("e", Report(waiting=50), settings)

    assert granted.starts <= 1
    assert granted.first_s >= 0.4
    assert again.starts == 0


def test_a_state_that_cannot_be_read_is_begun_anew(server: Redis) -> None:
    redis = connect(server.url)
    redis.set("karma:limit:e", b"{not json")

    assert limits(server, "one").exchange("e", Report(waiting=3), Settings(slots=2)).slots == 2


def test_without_redis_an_exchange_says_so(server: Redis) -> None:
    own = limits(server, "one")
    server.stop()

    with pytest.raises(BrokerOutageError):
        own.exchange("e", Report(waiting=1), Settings(slots=2))


def test_an_endpoint_that_says_that_nothing_is_left_is_not_called_before_its_reset(server: Redis) -> None:
    client = ChatClient(limits(server, "one").exchange)
    requests = [ChatRequest((Turn("user", f"Question {number}"),), number) for number in range(25)]
    with serve(Behaviour(per_minute=600, burst=10, limit_headers=True)) as endpoint:
        spec = ModelSpec(name="m", backend="openai", model="m", base_url=endpoint.url, concurrency=1)
        found = [result for group in client.complete(spec, requests) for _, result in group]
        client.close()

    assert [result.failure for result in found] == [None] * 25
    assert endpoint.refused.total() == 0


def test_an_open_breaker_closes_an_endpoint_to_new_work_until_only_new_work_could_try_it(server: Redis) -> None:
    redis = connect(server.url)
    clock = RedisClock(redis)
    spec = ModelSpec(name="red", backend="openai", model="m", base_url="http://127.0.0.1:1/v1")
    own = EndpointLimits(redis, "one", clock)
    own.exchange(
        endpoint_of(spec), Report(failed=1, for_good=True, kind="quota", reason="out of quota"), Settings(slots=2)
    )

    assert closed_to_work(read_limits(redis, {"red": spec}, clock())) == {"red": "out of quota"}
    assert closed_to_work(read_limits(redis, {"red": spec}, clock() + 6)) == {}


def pool(endpoint: Endpoint) -> str:
    models = [
        f'[models.{name}]\nbackend = "openai"\nbase_url = "{endpoint.url}"\nmodel = "{name}"\n'
        for name in ("red", "blue", "green")
    ]
    judge = '[judges.j]\nkind = "instant"\nboth_orders = false\n'
    return "".join(['[stream]\ngoal = "label"\n[pipeline]\nwindow = 64\n', *models, judge])


def test_an_outage_of_a_model_fails_no_answer_and_a_spent_quota_consumes_no_prompt(tmp_path: Path) -> None:
    needs.redis()
    with serve(Behaviour(latency_ms=20)) as endpoint:
        karma = Pipeline(tmp_path / "home", pool(endpoint), plugins="tests.support.instant")
        with karma.up():
            endpoint.down.add("red")
            karma.enqueue([{"id": f"a{n}", "prompt": f"What is {n}?"} for n in range(200)])
            wait_until(lambda: karma.status()["models"]["red"]["breaker"] == "open", 30, "the breaker of red is open")
            status = karma.status()
            assert "connection" in status["models"]["red"]["reason"]
            # The others go on: prompts that need red alone wait outside the window.
            wait_until(lambda: karma.status()["prompts"]["done"] >= 60, 60, "prompts of blue and green are done")
            endpoint.down.clear()
            ended = karma.wait_for_end(200, 60)
            assert ended["failed"]["responses"] == 0
            assert ended["prompts"]["dead"] == 0

            endpoint.spent.update(("red", "blue", "green"))
            karma.enqueue([{"id": f"b{n}", "prompt": f"And {n}?"} for n in range(300)])
            wait_until(
                lambda: {model["breaker"] for model in karma.status()["models"].values()} <= {"open", "half_open"},
                30,
                "every breaker is open",
            )
            waits = karma.status()
            assert waits["prompts"]["done"] == 200
            assert "quota" in waits["models"]["blue"]["reason"]
            assert endpoint.arrived < 200 * 2 + 400
            endpoint.spent.clear()
            ended = karma.wait_for_end(500, 90)
            assert ended["failed"]["responses"] == 0
