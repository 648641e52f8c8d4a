"""What an endpoint may say is held to what KARMA can keep."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import msgspec
import pytest

from karma.llm.completions import ChatRequest, FailedAttempt, body_of, refusal_of, result_of
from karma.messages import ModelSpec, ToolCall, ToolFunction, Turn

SPEC = ModelSpec(name="red", backend="openai", model="red-1", base_url="http://127.0.0.1:1/v1", system="Be brief.")


def body(content: object = "Hello.", **choice: object) -> bytes:
    return msgspec.json.encode({"choices": [{"message": {"content": content}, **choice}]})


def test_the_system_turn_is_put_before_a_prompt_that_has_none_and_only_there() -> None:
    user, own = Turn("user", "Hi"), Turn("system", "Be long.")

    without = msgspec.json.decode(body_of(SPEC, ChatRequest((user,), 1)))
    with_own = msgspec.json.decode(body_of(SPEC, ChatRequest((own, user), 1)))

    assert [turn["content"] for turn in without["messages"]] == ["Be brief.", "Hi"]
    assert [turn["content"] for turn in with_own["messages"]] == ["Be long.", "Hi"]


def test_the_seed_goes_along_in_31_bits() -> None:
    assert msgspec.json.decode(body_of(SPEC, ChatRequest((), (1 << 40) + 5)))["seed"] == 5


@pytest.mark.parametrize("content", [None, "", " \n\t"])
def test_an_answer_without_text_is_a_failure(content: str | None) -> None:
    found = result_of(body(content, finish_reason="stop"))

    assert (found.text, found.failure, found.kind) == (None, "empty answer", "empty")


def test_a_nul_in_an_answer_does_not_reach_the_database() -> None:
    assert result_of(body("a\x00b")).text == "a\ufffdb"


@pytest.mark.parametrize(("said", "kept"), [(7, 7), (7.0, 7), (-1, None), (10**30, None), (None, None)])
def test_a_count_of_tokens_that_can_be_none_is_dropped_and_the_text_kept(said: object, kept: int | None) -> None:
    found = result_of(
        msgspec.json.encode({"choices": [{"message": {"content": "Hi"}}], "usage": {"completion_tokens": said}})
        if said != 10**30
        else b'{"choices":[{"message":{"content":"Hi"}}],"usage":{"completion_tokens":1000000000000000000000000000000}}'
    )

    assert (found.text, found.tokens_out) == ("Hi", kept)


@pytest.mark.parametrize(
    "answer",
    [b"", b"<html>", b"{}", b'{"choices": []}', b'{"choices": [{"message": {"content": "\xff"}}]}', b"[" * 5000],
)
def test_what_is_no_completion_is_refused_and_not_asked_again(answer: bytes) -> None:
    with pytest.raises(FailedAttempt) as failed:
        result_of(answer)

    assert (failed.value.kind, failed.value.retry) == ("refused", False)


@pytest.mark.parametrize(
    ("status", "kind", "retry"),
    [
        (302, "redirect", False),
        (400, "refused", False),
        (404, "refused", False),
        (429, "rate_limited", True),
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


def test_instructions_of_a_developer_count_as_a_system_turn() -> None:
    sent = msgspec.json.decode(body_of(SPEC, ChatRequest((Turn("developer", "Be long."), Turn("user", "Hi")), 1)))

    assert [turn["content"] for turn in sent["messages"]] == ["Be long.", "Hi"]


def test_tool_calls_are_sent_as_they_are_and_other_turns_have_no_field_of_them() -> None:
    call = ToolCall(id="c1", type="function", function=ToolFunction("add", '{"a": 1}'))
    turns = (Turn("user", "1?"), Turn("assistant", "", tool_calls=(call,)), Turn("tool", "1", tool_call_id="c1"))

    sent = msgspec.json.decode(body_of(SPEC, ChatRequest(turns, 1)))["messages"]

    function = {"name": "add", "arguments": '{"a": 1}'}
    assert sent[1:] == [
        {"role": "user", "content": "1?"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "c1", "type": "function", "function": function}]},
        {"role": "tool", "content": "1", "tool_call_id": "c1"},
    ]
