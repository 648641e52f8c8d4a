"""Every reason that KARMA words itself has a kind of its own; what others word is `other` and never a label."""

from __future__ import annotations

import pytest

from karma.llm.completions import ChatRequest, result_of
from karma.llm.refusals import FailedAttempt, refusal_of
from karma.messages import ModelSpec
from karma.telemetry.failure_kinds import KINDS, kind_of

MODEL = ModelSpec(name="red", backend="openai", model="red", base_url="http://127.0.0.1:1/v1")


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("429: rate limited after 5 retries", "rate_limited"),
        ("503: server error after 5 retries", "server_error"),
        ("timed out after 120 s after 5 retries", "timeout"),
        ("no connection within 10 s after 5 retries", "timeout"),
        ("connection dropped: ServerDisconnectedError after 5 retries", "connection"),
        ("301: the endpoint redirects, and redirects are not followed", "redirect"),
        ("401: invalid key", "refused"),
        ("base_url of red is no URL of an endpoint", "refused"),
        ("the call cannot be made: InvalidHeader", "refused"),
        ("empty answer", "empty"),
        ("the environment variable KEY (api_key_env of red) is not set here", "missing_key"),
        ("the answer is larger than 8 MiB", "too_large"),
        ("unparsable verdict: 'I like both'", "unparsable"),
        ("the probability nan is not in [0, 1]", "unsound"),
        ("neither a probability nor a reason was returned", "unsound"),
        ("the prompt has 900 tokens, the model takes 512", "does_not_fit"),
        ("no reference", "nothing_to_go_by"),
        ("no certain answer: number cannot read both", "nothing_to_go_by"),
        ("given up after 3 attempts: its worker's heartbeat expired", "given_up"),
        ("the backend of red failed: RuntimeError", "broken"),
        ("the judge j gave no answer", "broken"),
        ("the checker number failed: could not convert", "broken"),
        ("whatever a plug-in says", "other"),
    ],
)
def test_a_reason_has_its_kind(reason: str, kind: str) -> None:
    assert kind_of(reason) == kind
    assert kind in KINDS


@pytest.mark.parametrize("status", [301, 400, 404, 429, 500, 503])
def test_what_an_endpoint_refuses_has_the_kind_that_the_client_gave_it(status: int) -> None:
    refusal = refusal_of(status, {}, b'{"error": {"message": "no"}}')
    assert kind_of(refusal.reason) == refusal.kind


def test_an_answer_that_is_none_has_the_kind_that_the_client_gave_it() -> None:
    with pytest.raises(FailedAttempt) as caught:
        result_of(b"not JSON", MODEL, ChatRequest((), 1))
    assert kind_of(caught.value.reason) == caught.value.kind
    empty = result_of(b'{"choices": [{"message": {"content": " "}}]}', MODEL, ChatRequest((), 1))
    assert kind_of(str(empty.failure)) == empty.kind
