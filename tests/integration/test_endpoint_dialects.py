"""The client against endpoints that refuse fields, hide errors in answers, or cut them."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator

import pytest
from aiohttp import web

from karma.llm import openai
from karma.llm.completions import ChatRequest, ChatResult
from karma.llm.openai import ChatClient
from karma.messages import ModelSpec, Turn
from tests.support.endpoint import Endpoint, serve

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai, "_BACKOFF_S", 0.01)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serve() as running:
        yield running


@pytest.fixture
def client() -> Iterator[ChatClient]:
    running = ChatClient()
    yield running
    running.close()


def ask(client: ChatClient, endpoint: Endpoint, **settings: object) -> ChatResult:
    named = {"name": "red", "backend": "openai", "model": "red", "base_url": endpoint.url} | settings
    asked = [ChatRequest((Turn("user", "Say yes."),), 1)]
    groups = list(client.complete(ModelSpec(**named), asked))  # type: ignore[arg-type]
    return groups[0][0][1]


def refuse(*params: str) -> deque[web.Response]:
    """One refusal a parameter, in the form of newer models."""
    bodies = [{"error": {"message": "Unsupported parameter.", "param": param}} for param in params]
    return deque(web.json_response(body, status=400) for body in bodies)


def test_a_refused_field_is_learnt_once_by_the_process_and_stored_with_each_answer(
    client: ChatClient, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.scripted = refuse("max_tokens", "temperature")

    first, second = ask(client, endpoint, max_retries=0), ask(client, endpoint, max_retries=0)

    assert (first.failure, second.failure) == (None, None)
    assert first.dropped == second.dropped == ("temperature",)
    assert endpoint.arrived == 4
    assert set(endpoint.bodies[-1]) == {"model", "messages", "max_completion_tokens", "top_p", "seed"}
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert said == [
        "the endpoint of red refuses max_tokens: it is sent as max_completion_tokens from now on",
        "the endpoint of red refuses temperature: it is left out from now on",
    ]


def test_a_refusal_that_no_change_helps_against_ends_and_teaches_nothing(
    client: ChatClient, endpoint: Endpoint
) -> None:
    endpoint.scripted = refuse(*["seed"] * 2)

    assert ask(client, endpoint).kind == "refused"
    assert endpoint.arrived == 2
    assert ask(client, endpoint).text is not None
    assert "seed" in endpoint.bodies[-1]


def test_a_prompt_that_leaves_no_room_for_a_whole_answer_is_asked_without_the_limit_and_only_it(
    client: ChatClient, endpoint: Endpoint
) -> None:
    words = "'max_tokens' is too large: 4096. This model's maximum context length is 4096 tokens"
    endpoint.scripted.append(web.json_response({"error": {"message": words}}, status=400))

    assert ask(client, endpoint).dropped == ("max_tokens",)
    assert ask(client, endpoint).dropped == ()


@pytest.mark.parametrize(
    "answer",
    [
        {"error": {"message": "upstream is overloaded", "code": 502}},
        {"choices": None, "error": {"message": "slow down", "code": 429}},
        {"choices": [{"finish_reason": "error", "message": {"content": "A good answ"}}]},
    ],
)
def test_an_error_with_status_200_is_asked_again(client: ChatClient, endpoint: Endpoint, answer: object) -> None:
    endpoint.scripted.append(web.json_response(answer))

    assert (ask(client, endpoint).text or "").startswith("The answer of red")
    assert endpoint.arrived == 2


@pytest.mark.parametrize("status", [408, 409, 425])
def test_a_status_that_passes_is_asked_again(client: ChatClient, endpoint: Endpoint, status: int) -> None:
    endpoint.scripted.append(web.Response(status=status))

    assert ask(client, endpoint).text is not None


def test_the_words_of_a_server_error_are_in_the_reason_without_keys(client: ChatClient, endpoint: Endpoint) -> None:
    words = {"error": {"message": "upstream sk-abcdef0123456789 broke " + "x" * 500}}
    endpoint.scripted.extend(web.json_response(words, status=500) for _ in range(2))

    found = ask(client, endpoint, max_retries=1)

    assert (found.failure or "").startswith("500: upstream *** broke xxx")
    assert len(found.failure or "") < 250
    assert (found.failure or "").endswith(" after 1 retries")


def test_a_spent_quota_is_asked_once(client: ChatClient, endpoint: Endpoint) -> None:
    words = {"error": {"message": "check plan and billing", "code": "insufficient_quota"}}
    endpoint.scripted.append(web.json_response(words, status=429))

    assert ask(client, endpoint).failure == "out of quota: 429: check plan and billing"
    assert endpoint.arrived == 1


def test_an_answer_of_events_with_status_201_is_read(client: ChatClient, endpoint: Endpoint) -> None:
    data = '{"choices": [{"delta": {"content": "Yes."}, "finish_reason": "stop"}]}'
    endpoint.scripted.append(web.Response(status=201, text=f"data: {data}\n\ndata: [DONE]\n\n"))

    assert ask(client, endpoint).text == "Yes."


def test_a_value_that_one_model_may_not_send_is_still_sent_by_another(client: ChatClient, endpoint: Endpoint) -> None:
    endpoint.scripted.append(web.json_response({"error": {"message": "temperature must be <= 1"}}, status=400))

    assert ask(client, endpoint, temperature=1.5).dropped == ("temperature",)
    assert ask(client, endpoint, temperature=0.5).dropped == ()
    assert ask(client, endpoint, temperature=1.5).dropped == ("temperature",)
    assert endpoint.arrived == 4


def test_a_judge_gets_as_many_log_probabilities_as_the_endpoint_gives(client: ChatClient, endpoint: Endpoint) -> None:
    words = "Invalid 'top_logprobs': integer above maximum value. Expected a value <= 5, but got 10 instead."
    endpoint.scripted.append(web.json_response({"error": {"message": words, "param": "top_logprobs"}}, status=400))
    spec = ModelSpec(name="judge", backend="openai", model="judge", base_url=endpoint.url)
    asked = ChatRequest((Turn("user", "A or B?"),), 1, {"logprobs": True, "top_logprobs": 10, "max_tokens": 1})

    found = [next(iter(client.complete(spec, [asked])))[0][1] for _call in range(2)]

    assert [result.dropped for result in found] == [(), ()]
    assert [body["top_logprobs"] for body in endpoint.bodies] == [10, 5, 5]
