"""What an endpoint refuses has a kind, its own words, and another attempt only where that can help."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import msgspec
import pytest

from karma.llm.refusals import mask, refusal_of
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
    "key",
    [
        "sk-proj-abcDEF123456",
        "sk-ab12****9876",
        "Bearer abc.def",
        "AIzaSyA1234567890abcdefghijk",
        "0123456789abcdef0123456789abcdef",
        "gsk_abcdef123456",
    ],
)
def test_what_looks_like_a_key_is_masked(key: str) -> None:
    assert mask(f"Incorrect key: {key} given") == "Incorrect key: *** given"


def test_the_name_of_a_model_is_not_masked() -> None:
    assert (
        mask("no model Meta-Llama-3.1-70B-Instruct-Turbo-Preview")
        == "no model Meta-Llama-3.1-70B-Instruct-Turbo-Preview"
    )
