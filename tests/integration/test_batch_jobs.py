"""Calls through batch jobs, against a real server of the protocol."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from karma import lease
from karma.batches.client import BatchClient
from karma.batches.open_jobs import OpenJobs, noted
from karma.errors import ReleasedError
from karma.llm.completions import ChatRequest, ChatResult
from karma.messages import ModelSpec, Turn
from tests.support.batch_endpoint import BatchEndpoint, serve
from tests.support.pipeline import wait_until


@pytest.fixture
def client() -> Iterator[BatchClient]:
    made = BatchClient()
    yield made
    made.close()


def spec(endpoint: BatchEndpoint, **settings: Any) -> ModelSpec:
    named = {"name": "red", "backend": "openai", "model": "red", "base_url": endpoint.url, "batch": True}
    return ModelSpec(**{**named, "batch_wait_s": 0.1, "batch_poll_s": 0.1, **settings})


def requests(count: int, first: int = 0) -> list[ChatRequest]:
    return [ChatRequest((Turn("user", f"Say {number}."),), number) for number in range(first, first + count)]


def ask(client: BatchClient, model: ModelSpec, asked: list[ChatRequest]) -> dict[int, ChatResult]:
    return {index: result for group in client.complete(model, asked) for index, result in group}


def test_requests_of_several_batches_travel_in_one_job(client: BatchClient) -> None:
    with serve() as endpoint:
        model = spec(endpoint, batch_wait_s=1.5)  # the threads begin within that time, also on a busy machine
        found: list[dict[int, ChatResult]] = []
        threads = [
            threading.Thread(target=lambda n=n: found.append(ask(client, model, requests(20, n * 20))))
            for n in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert [len(each) for each in found] == [20, 20, 20]
        assert all(result.failure is None for each in found for result in each.values())
        assert len(endpoint.jobs) == 1
        assert set(endpoint.answered.values()) == {1}


def test_open_jobs_are_known_while_they_are_open(client: BatchClient) -> None:
    with serve(takes_s=1) as endpoint:
        thread = threading.Thread(target=ask, args=(client, spec(endpoint, batch_requests=4), requests(10)))
        thread.start()
        wait_until(lambda: noted() == (OpenJobs("red", jobs=3, requests=10),), 10, "three jobs are open")
        thread.join(20)
    assert noted() == ()


def test_a_job_has_at_most_so_many_requests(client: BatchClient) -> None:
    with serve() as endpoint:
        assert len(ask(client, spec(endpoint, batch_requests=4), requests(10))) == 10
        assert len(endpoint.jobs) == 3


def test_what_a_job_did_not_answer_is_asked_again(client: BatchClient) -> None:
    with serve(takes_s=0.1, expiring=1, expired_share=0.5, failed_share=0.2, invalid=1) as endpoint:
        results = ask(client, spec(endpoint, max_retries=20), requests(40))
        assert {result.failure for result in results.values()} == {None}
        assert set(endpoint.answered.values()) == {1}
        assert len(endpoint.jobs) >= 3
        assert endpoint.doubled == []


def test_a_request_without_retries_left_fails_with_the_reason(client: BatchClient) -> None:
    with serve(takes_s=0.1, invalid=9) as endpoint:
        results = ask(client, spec(endpoint, max_retries=0), requests(1))
        assert results[0].failure is not None
        assert "the file is not valid" in results[0].failure


def test_who_takes_over_continues_the_job(client: BatchClient) -> None:
    with serve(takes_s=3) as endpoint:
        ends = threading.Event()

        def first() -> None:
            with lease.held(lambda: "stop" if ends.is_set() else "go"), pytest.raises(ReleasedError):
                ask(client, spec(endpoint), requests(10))

        thread = threading.Thread(target=first)
        thread.start()
        while not endpoint.jobs:
            time.sleep(0.05)
        ends.set()
        thread.join(10)
        assert not thread.is_alive()
        other = BatchClient()
        try:
            halves = ask(other, spec(endpoint), requests(5)), ask(other, spec(endpoint), requests(5, 5))
        finally:
            other.close()
        assert [len(half) for half in halves] == [5, 5]
        assert len(endpoint.jobs) == 1
        assert set(endpoint.answered.values()) == {1}


def test_an_outage_is_waited_for_and_the_key_is_sent(client: BatchClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCH_TEST_TOKEN", "for-this-test")
    with serve(down=True) as endpoint:
        threading.Timer(1, setattr, (endpoint, "down", False)).start()
        assert len(ask(client, spec(endpoint, api_key_env="BATCH_TEST_TOKEN"), requests(3))) == 3
        assert endpoint.tokens == {"Bearer for-this-test"}


def test_jobs_of_others_are_passed_over(client: BatchClient) -> None:
    with serve(takes_s=0.1) as endpoint:
        for name in ("blue", "green", "grey", "white"):
            ask(client, spec(endpoint, name=name), requests(1))
        ask(client, spec(endpoint), requests(1))
        assert len(endpoint.jobs) == 5
        ask(client, spec(endpoint), requests(1))  # in the list, behind a page
        ask(client, spec(endpoint, name="blue"), requests(1))
        assert len(endpoint.jobs) == 5
