"""The client against a real server that misbehaves as real ones do."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator

import pytest
from aiohttp import web

from karma import lease
from karma.errors import KarmaError, ReleasedError
from karma.llm import openai
from karma.llm.completions import ChatRequest, ChatResult
from karma.llm.openai import ChatClient
from karma.messages import ModelSpec, Turn
from tests.support.endpoint import Behaviour, Endpoint, serve
from tests.support.pipeline import wait_until

pytestmark = pytest.mark.timeout(60)

KEY = "sk-0123456789abcdefghijklmnopqrstuvwxyz"


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


def spec(endpoint: Endpoint, **more: object) -> ModelSpec:
    named = {"name": "red", "backend": "openai", "model": "red", "base_url": endpoint.url} | more
    return ModelSpec(**named)  # type: ignore[arg-type]


def requests(count: int) -> list[ChatRequest]:
    return [ChatRequest((Turn("user", f"Question {n}"),), n) for n in range(count)]


def answers(client: ChatClient, asked: ModelSpec, count: int = 1) -> list[ChatResult]:
    found = dict(pair for group in client.complete(asked, requests(count)) for pair in group)
    assert sorted(found) == list(range(count))
    return [found[place] for place in range(count)]


def test_an_answer_brings_its_text_counts_and_time(client: ChatClient, endpoint: Endpoint) -> None:
    found = answers(client, spec(endpoint))[0]

    assert (found.text or "").startswith("The answer of red is")
    assert (found.failure, found.finish_reason, found.tokens_in) == (None, "stop", 2)
    assert found.tokens_out is not None
    assert found.latency_s is not None


def test_the_same_seeds_get_the_same_answers_because_they_are_passed_on(client: ChatClient, endpoint: Endpoint) -> None:
    first, again = answers(client, spec(endpoint), 3), answers(client, spec(endpoint), 3)

    assert [one.text for one in first] == [one.text for one in again]
    assert sorted(body["seed"] for body in endpoint.bodies) == [0, 0, 1, 1, 2, 2]


def test_429s_and_dropped_connections_change_no_result(client: ChatClient) -> None:
    with serve(Behaviour(rate_429=0.2, drop=0.1, retry_after_s=0.01, seed=3)) as endpoint:
        found = answers(client, spec(endpoint, max_retries=20), 200)

    assert [one.failure for one in found] == [None] * 200
    assert endpoint.refused["429"] > 0
    assert endpoint.refused["dropped"] > 0
    assert endpoint.calls["red"] == 200
    assert endpoint.stats() == {
        "requests": {"red": endpoint.arrived},
        "answered": 200,
        "dropped": endpoint.refused["dropped"],
        "rate_limited": endpoint.refused["429"],
    }
    assert endpoint.arrived == 200 + endpoint.refused.total()


def test_a_server_error_is_asked_again(client: ChatClient, endpoint: Endpoint) -> None:
    endpoint.scripted.extend([web.Response(status=503), web.Response(status=500)])

    assert answers(client, spec(endpoint))[0].text is not None
    assert endpoint.arrived == 3


def test_the_wait_is_at_least_what_retry_after_asks(client: ChatClient, endpoint: Endpoint) -> None:
    endpoint.scripted.append(web.Response(status=429, headers={"Retry-After": "0.4"}))

    found = answers(client, spec(endpoint))[0]

    assert found.text is not None
    assert found.latency_s is not None
    assert found.latency_s >= 0.4


def test_a_limit_that_passes_uses_up_no_retry(client: ChatClient, endpoint: Endpoint) -> None:
    endpoint.scripted.extend(web.Response(status=429) for _ in range(4))

    assert answers(client, spec(endpoint, max_retries=1))[0].text is not None
    assert endpoint.arrived == 5


def test_a_limit_that_stays_is_a_failure_at_the_deadline(client: ChatClient) -> None:
    with serve(Behaviour(rate_429=1.0, retry_after_s=0.1)) as endpoint:
        found = answers(client, spec(endpoint, rate_limit_wait_s=0.35))[0]

    assert found.kind == "rate_limited"
    assert found.failure == "429: rate limited after waiting 0 s (rate_limit_wait_s 0.35)"
    assert endpoint.refused["429"] == 4


def test_without_retries_a_limit_is_a_failure_at_once(client: ChatClient) -> None:
    with serve(Behaviour(rate_429=1.0)) as endpoint:
        found = answers(client, spec(endpoint, max_retries=0))[0]

    assert (found.failure, found.kind) == ("429: rate limited after 0 retries", "rate_limited")
    assert endpoint.arrived == 1


def test_connections_that_keep_dropping_are_a_failure(client: ChatClient) -> None:
    with serve(Behaviour(drop=1.0)) as endpoint:
        found = answers(client, spec(endpoint, max_retries=1))[0]

    assert found.kind == "connection"
    assert (found.failure or "").startswith("connection dropped: ")


def test_an_endpoint_that_is_not_there_is_a_failure_of_each_item(client: ChatClient, endpoint: Endpoint) -> None:
    nowhere = spec(endpoint, base_url="http://127.0.0.1:9/v1", max_retries=1)

    assert {one.kind for one in answers(client, nowhere, 3)} == {"connection"}


@pytest.mark.parametrize("url", ["no url", "", "file:///etc/passwd"])
def test_a_base_url_that_is_none_is_refused_without_a_retry(client: ChatClient, endpoint: Endpoint, url: str) -> None:
    found = answers(client, spec(endpoint, base_url=url))[0]

    assert (found.failure, found.kind) == ("base_url of red is no URL of an endpoint", "refused")


def test_an_answer_that_does_not_come_in_time_is_a_failure(client: ChatClient, endpoint: Endpoint) -> None:
    answers(client, spec(endpoint))
    endpoint.gate = threading.Event()

    found = answers(client, spec(endpoint, timeout_s=0.2, max_retries=1))[0]
    endpoint.gate.set()

    assert (found.failure, found.kind) == ("timed out after 0.2 s after 1 retries", "timeout")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_its_target_never_asked(client: ChatClient, endpoint: Endpoint, status: int) -> None:
    with serve() as target:
        endpoint.scripted.append(web.Response(status=status, headers={"Location": f"{target.url}/chat/completions"}))
        found = answers(client, spec(endpoint))[0]

    assert found.kind == "redirect"
    assert found.failure == f"{status}: the endpoint redirects, and redirects are not followed"
    assert target.arrived == 0
    assert endpoint.arrived == 1


def test_a_refusal_says_what_the_endpoint_said_and_is_not_asked_again(client: ChatClient, endpoint: Endpoint) -> None:
    endpoint.scripted.append(web.json_response({"error": {"message": "no\nsuch\x00 model"}}, status=400))

    found = answers(client, spec(endpoint))[0]

    assert (found.failure, found.kind) == ("400: no such\ufffd model", "refused")
    assert endpoint.arrived == 1


def test_one_refused_item_does_not_fail_its_batch(client: ChatClient, endpoint: Endpoint) -> None:
    endpoint.scripted.append(web.Response(status=400, text="no"))

    found = answers(client, spec(endpoint), 5)

    assert sorted((one.kind or "text") for one in found) == ["refused", "text", "text", "text", "text"]


def test_an_answer_of_many_megabytes_is_not_kept(client: ChatClient, endpoint: Endpoint) -> None:
    endpoint.scripted.append(web.Response(body=b"x" * (9 << 20)))

    found = answers(client, spec(endpoint))[0]

    assert (found.failure, found.kind) == ("the answer is larger than 8 MiB", "too_large")


def test_a_key_that_is_not_set_is_named_and_nothing_is_asked(client: ChatClient, endpoint: Endpoint) -> None:
    found = answers(client, spec(endpoint, api_key_env="NO_SUCH_KEY"))[0]

    assert found.kind == "missing_key"
    assert "NO_SUCH_KEY" in (found.failure or "")
    assert endpoint.arrived == 0


@pytest.mark.parametrize("before", [0, 150, 170, 185, 199])
def test_no_part_of_the_key_is_ever_in_a_reason_or_a_log(
    client: ChatClient,
    endpoint: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    before: int,
) -> None:
    """Also where the endpoint repeats the key just at the place at which the reason is cut."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("SOME_KEY", f"{KEY}\n")
    endpoint.scripted.append(web.json_response({"error": {"message": f"{'.' * before}{KEY} is wrong"}}, status=401))

    found = answers(client, spec(endpoint, api_key_env="SOME_KEY"))[0]

    assert endpoint.tokens[0] == f"Bearer {KEY}"
    assert KEY[:8] not in repr(found) + caplog.text


@pytest.mark.parametrize(
    "message",
    [
        {"content": f"Your key is {KEY}, I think."},
        {"content": f"<think>{KEY}</think>It is a secret."},
        {"content": "It is a secret.", "reasoning_content": f"Authorization: Bearer {KEY}"},
        {"content": None, "refusal": f"{'.' * 190}{KEY}"},
    ],
)
def test_an_answer_that_repeats_the_key_is_kept_without_it(
    client: ChatClient, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, message: dict
) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)
    endpoint.scripted.append(
        web.json_response({"choices": [{"index": 0, "finish_reason": "stop", "message": message}]})
    )

    found = answers(client, spec(endpoint, api_key_env="SOME_KEY"))[0]

    assert KEY[:8] not in repr(found)
    assert "***" in repr(found)


def test_a_key_that_is_spread_over_the_events_of_a_stream_is_left_out_as_well(
    client: ChatClient, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)
    pieces = ["Your key is ", KEY[:9], KEY[9:20], KEY[20:], "."]
    events = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    endpoint.scripted.append(web.Response(text=body, content_type="text/event-stream"))

    found = answers(client, spec(endpoint, api_key_env="SOME_KEY"))[0]

    assert found.text == "Your key is ***."


def test_the_query_of_a_base_url_stays_at_the_end(client: ChatClient, endpoint: Endpoint) -> None:
    found = answers(client, spec(endpoint, base_url=f"{endpoint.url}/?api-version=preview"))[0]

    assert found.failure is None


def test_a_key_that_no_header_can_hold_fails_without_being_shown(
    client: ChatClient, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("SOME_KEY", f"{KEY}\nX-Other: 1")

    found = answers(client, spec(endpoint, api_key_env="SOME_KEY"))[0]

    assert found.text is None
    assert KEY[:8] not in repr(found) + caplog.text


def test_all_threads_together_stay_within_the_models_concurrency(client: ChatClient) -> None:
    with serve(Behaviour(latency_ms=10)) as endpoint:
        asked = spec(endpoint, concurrency=5)
        threads = [threading.Thread(target=answers, args=(client, asked, 25)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert endpoint.calls["red"] == 100
    assert endpoint.most_under_way == 5


def test_results_flow_before_all_calls_are_done(client: ChatClient, endpoint: Endpoint) -> None:
    """The server holds every call but the first until the first result is here."""
    endpoint.gate = threading.Event()

    groups = client.complete(spec(endpoint), requests(4), linger_s=0.05)
    first = next(groups)
    endpoint.gate.set()

    assert len(first) == 1
    assert sum(len(group) for group in groups) == 3


def test_leaving_the_iterator_gives_its_places_back(client: ChatClient, endpoint: Endpoint) -> None:
    endpoint.gate = threading.Event()
    asked = spec(endpoint, concurrency=1)

    groups = client.complete(asked, requests(10), linger_s=0.01)
    next(groups)
    groups.close()
    endpoint.gate.set()

    assert answers(client, asked)[0].text is not None
    assert endpoint.arrived <= 3


def test_cookies_of_an_endpoint_are_not_kept(client: ChatClient, endpoint: Endpoint) -> None:
    """Asked by a host name, because nobody keeps cookies of a bare address."""
    answer = web.json_response({"choices": [{"message": {"content": "Hi"}}]})
    answer.set_cookie("who", "me")
    endpoint.scripted.append(answer)

    found = answers(client, spec(endpoint, base_url=endpoint.url.replace("127.0.0.1", "localhost")))[0]

    assert found.text == "Hi"
    assert client._session is not None
    assert list(client._session.cookie_jar) == []


def test_closing_ends_what_other_threads_wait_for(client: ChatClient, endpoint: Endpoint) -> None:
    """A thread that waits for an endpoint is told so, and not left waiting for a loop that no longer runs."""
    endpoint.gate = threading.Event()
    groups = client.complete(spec(endpoint), requests(4), linger_s=0.01)
    assert len(next(groups)) == 1
    ended: list[Exception] = []

    def wait() -> None:
        try:
            next(groups)
        except KarmaError as cause:
            ended.append(cause)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    client.close()
    thread.join(10)
    endpoint.gate.set()

    assert [str(one) for one in ended] == ["the chat client was closed with 3 calls to red under way"]


def test_a_closed_client_says_so_instead_of_waiting(endpoint: Endpoint) -> None:
    client = ChatClient()
    client.close()

    with pytest.raises(KarmaError, match="the chat client is closed"):
        answers(client, spec(endpoint))


def test_closing_twice_does_nothing(endpoint: Endpoint) -> None:
    client = ChatClient()
    answers(client, spec(endpoint))

    client.close()
    client.close()


def test_under_a_lease_that_ended_no_call_is_begun_and_those_under_way_are_still_brought(
    client: ChatClient, endpoint: Endpoint
) -> None:
    """What was asked is paid for; what was not is another's."""
    endpoint.gate = threading.Event()
    standing = ["go"]
    with lease.held(lambda: standing[0]):  # type: ignore[arg-type, return-value]
        groups = client.complete(spec(endpoint, concurrency=2), requests(6), linger_s=0.01)
        brought = [next(groups)]
        wait_until(lambda: endpoint.under_way == 2, 10, "two calls are under way")
        standing[0] = "stop"
        endpoint.gate.set()
        with pytest.raises(ReleasedError):
            brought.extend(groups)
    assert sum(map(len, brought)) == endpoint.arrived == 3
