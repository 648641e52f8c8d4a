"""What a client shows of its calls: attempts by what came back, how many are under way, and OpenTelemetry's figures."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from aiohttp import web

from karma.llm import openai
from karma.llm.completions import ChatRequest
from karma.llm.openai import ChatClient
from karma.messages import ModelSpec, Turn
from tests.support import needs
from tests.support.endpoint import Behaviour, Endpoint, serve
from tests.support.pipeline import wait_until
from tests.support.shown import forget_all, value

pytestmark = pytest.mark.timeout(60)

NAMED = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "openai", "gen_ai_request_model": "red"}


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(openai, "_BACKOFF_S", 0.01)
    forget_all()
    yield
    forget_all()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serve(Behaviour(retry_after_s=0.0)) as running:
        yield running


@pytest.fixture
def client() -> Iterator[ChatClient]:
    running = ChatClient()
    yield running
    running.close()


def ask(client: ChatClient, endpoint: Endpoint, count: int, **more: object) -> None:
    named = {"name": "mine", "backend": "openai", "model": "red", "base_url": endpoint.url} | more
    requests = [ChatRequest((Turn("user", f"Question {n}"),), n) for n in range(count)]
    for _group in client.complete(ModelSpec(**named), requests):  # type: ignore[arg-type]
        pass


def duration(error: str = "") -> float:
    return value("gen_ai_client_operation_duration_seconds_count", **NAMED, error_type=error)


def test_every_attempt_is_counted_by_what_came_back(client: ChatClient, endpoint: Endpoint) -> None:
    endpoint.scripted.extend([web.Response(status=429), web.Response(status=503), web.Response(status=429)])
    ask(client, endpoint, 1)
    assert value("karma_call_attempts_total", name="mine", result="rate_limited") == 2
    assert value("karma_call_attempts_total", name="mine", result="server_error") == 1
    assert value("karma_call_attempts_total", name="mine", result="answered") == 1
    assert duration() == 1


def test_a_call_that_fails_for_good_is_shown_with_its_error(client: ChatClient, endpoint: Endpoint) -> None:
    endpoint.scripted.append(web.Response(status=404))
    ask(client, endpoint, 1)
    assert value("karma_call_attempts_total", name="mine", result="refused") == 1
    assert duration() == 0
    assert duration("refused") == 1


def test_tokens_are_shown_by_opentelemetrys_conventions(client: ChatClient, endpoint: Endpoint) -> None:
    ask(client, endpoint, 3)
    assert value("gen_ai_client_token_usage_count", **NAMED, gen_ai_token_type="input") == 3
    assert value("gen_ai_client_token_usage_sum", **NAMED, gen_ai_token_type="input") == 6
    assert value("gen_ai_client_token_usage_count", **NAMED, gen_ai_token_type="output") == 3


def test_calls_under_way_and_those_that_back_off_are_shown_while_they_are(
    client: ChatClient, endpoint: Endpoint
) -> None:
    endpoint.gate = threading.Event()
    endpoint.behaviour.retry_after_s = 0.5
    endpoint.scripted.append(web.Response(status=429, headers={"Retry-After": "5"}))
    asking = threading.Thread(target=ask, args=(client, endpoint, 8), kwargs={"concurrency": 4})
    asking.start()
    try:
        wait_until(lambda: value("karma_calls_in_progress", name="mine") == 4, 10, "four calls are under way")
        assert value("karma_calls_limit", name="mine") == 4
        backing_off = {"name": "mine", "result": "rate_limited"}
        wait_until(lambda: value("karma_calls_backing_off", **backing_off) == 1, 10, "one of them backs off")
    finally:
        endpoint.gate.set()
        asking.join(30)
    assert value("karma_calls_in_progress", name="mine") == 0
    assert value("karma_calls_backing_off", **backing_off) == 0


def test_a_model_in_this_process_is_shown_by_the_name_of_its_checkpoint_and_not_its_folder() -> None:
    needs.package("torch")
    from karma.llm.transformers import LocalModel
    from karma_demo.family import checkpoint_path

    spec = ModelSpec(name="mine", backend="transformers", model=str(checkpoint_path("novice")), max_tokens=4)
    chats = [(Turn("user", "one"),), (Turn("user", "two"),)]
    made = [result for group in LocalModel.load(spec).generate(chats, [1, 2], spec) for _place, result in group]
    assert len(made) == 2
    named = {**NAMED, "gen_ai_provider_name": "transformers", "gen_ai_request_model": "novice"}
    read = value("gen_ai_client_token_usage_sum", **named, gen_ai_token_type="input")
    assert read == sum(one.tokens_in or 0 for one in made) > 0
    results = ("", "empty", "unfinished")
    durations = (value("gen_ai_client_operation_duration_seconds_count", **named, error_type=e) for e in results)
    assert sum(durations) == 2
