"""What an endpoint refuses has a kind, its own words, and another attempt only where that can help."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import msgspec
import pytest

from karma.llm.refusals import refusal_of
from karma.telemetry.failure_kinds import kind_of


@pytest.mark.parametrize(
    ("status", "kind", "retry"),
    [
        (302, "redirect", False),
        (400, "refused", False),
        (404, "refused", False),
        (429, "rate_limited", True),
        (402, "quota", False),
        (408, "server_error", True),
        (409, "server_error", True),
        (425, "server_error", True),
        (500, "server_error", True),
        (503, "server_error", True),
    ],
)
def test_a_refusal_is_retryable_only_if_a_retry_can_help(status: int, kind: str, retry: bool) -> None:
    found = refusal_of(status, {}, b"")

    assert (found.kind, found.retry) == (kind, retry)


@pytest.mark.parametrize(
    "answer",
    [b'{"error": {"message": "too long", "type": "x"}}', b'{"error": "too long"}', b"too long"],
)
def test_a_refusal_repeats_what_the_endpoint_said(answer: bytes) -> None:
    assert refusal_of(400, {}, answer).reason == "400: too long"


@pytest.mark.parametrize(
    ("header", "wait_s"), [("2", 2.0), ("0.5", 0.5), ("-3", 0.0), ("inf", 300.0), ("soon", None), ("", None)]
)
def test_retry_after_is_read_in_seconds(header: str, wait_s: float | None) -> None:
    assert refusal_of(429, {"Retry-After": header}, b"").wait_s == wait_s


def test_retry_after_is_read_as_a_date() -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)

    wait_s = refusal_of(429, {"Retry-After": at}, b"").wait_s

    assert wait_s is not None
    assert 50 < wait_s <= 60


def test_the_wait_of_the_provider_behind_a_proxy_is_read() -> None:
    assert refusal_of(429, {"llm_provider-retry-after": "7"}, b"").wait_s == 7.0


def error(message: object, **more: object) -> bytes:
    return msgspec.json.encode({"error": {"message": message, **more}})


def test_a_spent_quota_is_not_asked_again() -> None:
    spent = refusal_of(429, {}, error("You exceeded your current quota.", code="insufficient_quota"))

    assert (spent.kind, spent.retry) == ("quota", False)
    assert spent.reason == "out of quota: 429: You exceeded your current quota."
    assert refusal_of(429, {}, error("You exceeded your current quota.")).retry  # some say so of a limit per minute


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (500, "context length exceeded: 9000 tokens, the limit is 8192"),
        (400, "This model's maximum context length is 4096 tokens."),
        (400, "the request exceeds the available context size"),
        (413, "prompt is too long: 210000 tokens > 200000 maximum"),
        (429, "Request too large for the model: limit 10000 tokens per minute, requested 12000"),
    ],
)
def test_a_prompt_that_is_too_long_does_not_fit_and_is_not_asked_again(status: int, words: str) -> None:
    found = refusal_of(status, {}, error(words))

    assert (found.kind, found.retry) == ("does_not_fit", False)
    assert found.reason == f"the prompt does not fit: {status}: {words}"
    assert kind_of(found.reason) == "does_not_fit"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (error("overloaded"), "503: overloaded"),
        (b"<h1>Bad gateway</h1>", "503: <h1>Bad gateway</h1>"),
        (b'{"message": "busy"}', "503: busy"),
        (b'{"detail": "busy"}', "503: busy"),
        (error({"text": "busy"}), "503: busy"),
        (b"", "503: server error"),
    ],
)
def test_a_server_error_is_told_in_the_words_of_the_provider(answer: bytes, words: str) -> None:
    assert refusal_of(503, {}, answer).reason == words


def test_a_refused_field_is_read_from_pydantic_param_or_words() -> None:
    detail = {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}
    by_location = refusal_of(422, {}, msgspec.json.encode(detail))

    assert by_location.named == frozenset({"seed"})
    assert by_location.reason == "422: Extra inputs are not permitted"
    assert refusal_of(400, {}, error("no", param="top_p")).named == frozenset({"top_p"})
    assert refusal_of(400, {}, error("no top_p", param=None)).named == "no top_p"
    assert not refusal_of(401, {}, error("no top_p")).named


@pytest.mark.parametrize(
    "answer",
    [
        {
            "object": "error",
            "message": {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]},
        },
        {"message": '{"detail": [{"loc": ["body", "seed", "int"], "msg": "Extra inputs are not permitted"}]}'},
        {
            "error": {
                "message": "Provider returned error",
                "metadata": {"raw": '{"error": {"message": "x", "param": "seed"}}'},
            }
        },
        {"error": {"message": "Unsupported", "param": "body.seed"}},
    ],
)
def test_a_field_is_found_within_what_a_proxy_wraps(answer: object) -> None:
    assert "seed" in refusal_of(422, {}, msgspec.json.encode(answer)).named


def test_a_location_within_a_field_names_that_field() -> None:
    detail = {"detail": [{"loc": ["body", "messages", 0, "seed"], "msg": "no"}]}
    assert refusal_of(422, {}, msgspec.json.encode(detail)).named == frozenset({"messages"})


@pytest.mark.parametrize("param", ["None", "null", "", None])
def test_a_param_that_names_nothing_leaves_the_words(param: str | None) -> None:
    words = "gpt-5 models don't support temperature=0.7"
    assert refusal_of(400, {}, error(words, param=param, type="None")).named == words


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            b'{"statusCode": 400, "error": "Bad Request", "message": "no temperature"}',
            "400: Bad Request; no temperature",
        ),
        (b'{"error": true, "message": "no temperature"}', "400: no temperature"),
        (b'{"code": 400, "msg": "no temperature"}', "400: no temperature"),
        (b'{"error": {"details": "no temperature"}}', "400: no temperature"),
        (b'[{"error": {"code": 400, "message": "no temperature"}}]', "400: no temperature"),
        (b'{"oops": 1}', '400: {"oops": 1}'),
        (b"", "400: Bad Request"),
    ],
)
def test_the_words_are_found_in_every_form(answer: bytes, reason: str) -> None:
    assert refusal_of(400, {}, answer).reason == reason


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "input length and `max_tokens` exceed context limit: 3000 + 4096 > 4096"),
        (400, "The input token count (9000) exceeds the maximum number of tokens allowed (8192)."),
        (
            422,
            "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 `inputs` tokens and 4096 `max_new_tokens`",
        ),
        (413, "Request Entity Too Large"),
        (400, "The decoder prompt (length 5000) is longer than the maximum model length of 4096."),
        (400, "Range of input length should be [1, 30720]"),
        (400, "Prompt exceeds max length"),
        (400, "Your request exceeded model token limit: 8192"),
        (400, "litellm.ContextWindowExceededError: too much"),
    ],
)
def test_the_words_of_each_provider_for_a_prompt_that_is_too_long(status: int, words: str) -> None:
    assert refusal_of(status, {}, error(words)).kind == "does_not_fit"


def test_a_model_that_ran_out_of_tokens_is_unfinished_and_nothing_is_learnt_from_it() -> None:
    words = "Could not finish the message because max_tokens or model output limit was reached."
    found = refusal_of(400, {}, error(words, param=None))
    assert (found.kind, found.retry, found.named) == ("unfinished", False, frozenset())


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("Insufficient Balance", "1113"),
        ("Your credit balance is too low to access the API.", "invalid_request_error"),
        ("no", "budget_exceeded"),
        ("no", "exceeded_current_quota_error"),
    ],
)
def test_every_word_for_a_spent_quota(words: str, code: str) -> None:
    assert refusal_of(429, {}, error(words, code=code)).kind == "quota"


def test_log_probabilities_that_are_forbidden_are_a_refused_field() -> None:
    assert refusal_of(403, {}, error("You are not allowed to request logprobs from this model")).named
    assert not refusal_of(403, {}, error("You are not allowed to sample from this model")).named


@pytest.mark.parametrize(("name", "value", "wait_s"), [("retry-after-ms", "1500", 1.5), ("Retry-After", "7s", 7.0)])
def test_a_wait_in_other_units_is_read(name: str, value: str, wait_s: float) -> None:
    assert refusal_of(429, {name: value}, b"").wait_s == wait_s


@pytest.mark.parametrize(
    ("words", "wait_s"),
    [
        ("Rate limit reached. Please try again in 8s.", 8.0),
        ("Please try again in 20ms.", 0.02),
        ("Please try again in 1m26.4s. Need more tokens?", 86.4),
        ("Please try again in 14m24s.", 300.0),
        ("Please try again in 2 hours.", 300.0),
        ("Please retry after 6 seconds.", 6.0),
        ("Please retry in 34.074824224s.", 34.074824224),
        ("Please retry after 1 minute", 60.0),
        ("Please try again in a moment", None),
        ("Please try again later", None),
        ("try again in try again in 3 s", 3.0),
    ],
)
def test_a_wait_in_words_is_read(words: str, wait_s: float | None) -> None:
    assert refusal_of(429, {}, error(words)).wait_s == (None if wait_s is None else pytest.approx(wait_s))
    assert refusal_of(429, {"Retry-After": "5"}, error(words)).wait_s == 5.0
