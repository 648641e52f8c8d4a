"""What an endpoint may say is held to what KARMA can keep."""

from __future__ import annotations

import msgspec
import pytest

from karma.llm.completions import ChatRequest, ChatResult, body_of
from karma.llm.completions import result_of as read_result
from karma.llm.refusals import FailedAttempt
from karma.messages import ModelSpec, ToolCall, ToolFunction, Turn

SPEC = ModelSpec(name="red", backend="openai", model="red-1", base_url="http://127.0.0.1:1/v1", system="Be brief.")


def body(content: object = "Hello.", **choice: object) -> bytes:
    return msgspec.json.encode({"choices": [{"message": {"content": content}, **choice}]})


def result_of(answer: bytes, **settings: object) -> ChatResult:
    return read_result(answer, msgspec.structs.replace(SPEC, **settings), ChatRequest((Turn("user", "Hi"),), 1))


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

    assert (found.text, found.kind) == (None, "empty")
    assert (found.failure or "").startswith("empty answer: finish_reason stop")


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
    [b"<html>", b"{}", b"[" * 5000],
)
def test_what_is_no_completion_is_refused_and_not_asked_again(answer: bytes) -> None:
    with pytest.raises(FailedAttempt) as failed:
        result_of(answer)

    assert (failed.value.kind, failed.value.retry) == ("refused", False)


@pytest.mark.parametrize(
    "rest",
    [
        b'"usage": {"prompt_tokens": "many", "completion_tokens": null}',
        b'"usage": [1]',
        b'"id": "\\ud800"',
        b'"created": NaN',
    ],
)
def test_a_field_that_cannot_be_read_does_not_throw_the_text_away(rest: bytes) -> None:
    answer = b'{"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}], ' + rest + b"}"

    assert result_of(answer).text == "Hi"


@pytest.mark.parametrize("more", [{"finish_reason": 1}, {"logprobs": []}, {"logprobs": {"content": [None]}}])
def test_a_part_of_a_choice_that_cannot_be_read_does_not_throw_the_text_away(more: dict[str, object]) -> None:
    assert result_of(body("Hi", **more)).text == "Hi"


def test_only_finite_log_probabilities_are_read() -> None:
    top = b'[{"token": "A", "logprob": -0.5}, {"token": "B", "logprob": null}, {"token": "C", "logprob": NaN}, 7]'
    answer = b'{"choices":[{"message":{"content":"A"},"logprobs":{"content":[{"top_logprobs":' + top + b"}]}}]}"

    assert result_of(answer).first_tokens == {"A": -0.5}


def test_log_probabilities_that_were_requested_and_did_not_come_are_said() -> None:
    asked = ChatRequest((Turn("user", "Hi"),), 1, {"logprobs": True, "max_tokens": 1})

    assert read_result(body("A", finish_reason="length"), SPEC, asked).logprobs_missing
    assert not result_of(body("A")).logprobs_missing


def test_a_limit_of_the_request_itself_makes_no_answer_unfinished() -> None:
    asked = ChatRequest((Turn("user", "Hi"),), 1, {"max_tokens": 1})

    assert read_result(body("A", finish_reason="length"), SPEC, asked).text == "A"


@pytest.mark.parametrize("before", [b"\n\n  \n", b": OPENROUTER PROCESSING\n\n: again\n", b"\xef\xbb\xbf"])
def test_white_space_and_comments_before_an_answer_are_skipped(before: bytes) -> None:
    assert result_of(before + body("Hi")).text == "Hi"


def test_an_empty_body_is_asked_for_again() -> None:
    with pytest.raises(FailedAttempt) as failed:
        result_of(b" \n")

    assert (failed.value.kind, failed.value.retry) == ("server_error", True)


@pytest.mark.parametrize(
    ("answer", "kind", "retry", "reason"),
    [
        ({"error": {"message": "overloaded", "code": 502}}, "server_error", True, "502: overloaded"),
        ({"error": {"message": "slow down", "code": "429"}, "choices": None}, "rate_limited", True, "429: slow down"),
        ({"error": {"message": "no model", "code": 404}}, "refused", False, "404: no model"),
        ({"error": {"message": "pay", "code": 429, "type": "insufficient_quota"}}, "quota", False, "out of quota: 429"),
        ({"error": {"message": "pay", "code": "insufficient_quota"}}, "quota", False, "out of quota: "),
        ({"error": "broken"}, "server_error", True, "the endpoint reports an error: broken"),
        ({"choices": None}, "server_error", True, "the endpoint reports an error: choices is null"),
        (
            {"choices": [{"error": {"code": 502, "message": "broke"}, "message": {"content": "An answ"}}]},
            "server_error",
            True,
            "502: broke",
        ),
        ({"choices": [{"finish_reason": "error", "message": {"content": "An answ"}}]}, "server_error", True, "the end"),
    ],
)
def test_an_error_in_an_answer_is_that_error(answer: object, kind: str, retry: bool, reason: str) -> None:
    with pytest.raises(FailedAttempt) as failed:
        result_of(msgspec.json.encode(answer))

    assert (failed.value.kind, failed.value.retry) == (kind, retry)
    assert failed.value.reason.startswith(reason)


def test_a_refusal_of_the_model_is_said_in_its_words() -> None:
    found = result_of(b'{"choices":[{"message":{"content":null,"refusal":"I cannot\\nhelp."},"finish_reason":"stop"}]}')

    assert (found.text, found.failure, found.kind) == (None, "refused: I cannot help.", "model_refusal")


def test_a_refusal_in_a_part_of_the_content_is_one_also_after_reasoning() -> None:
    message = {"content": [{"type": "refusal", "refusal": "I cannot help."}], "reasoning": "Hm."}
    found = result_of(msgspec.json.encode({"choices": [{"message": message, "finish_reason": "stop"}]}))

    assert (found.text, found.failure, found.kind) == (None, "refused: I cannot help.", "model_refusal")
    assert found.reasoning == "Hm."


PARTS = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "Yes."}]


@pytest.mark.parametrize(
    "message",
    [
        {"content": PARTS},
        {"content": "<think>Hm.</think>\n\nYes."},
        {"content": "Hm.</think>Yes."},
        {"content": "Yes.", "reasoning_content": "Hm."},
        {"content": "Yes.", "reasoning": "Hm."},
        {"content": "Yes.", "reasoning": None, "reasoning_details": [{"type": "reasoning.text", "text": "Hm."}]},
        {"content": "Yes.", "reasoning": "Hm.", "reasoning_details": [{"type": "reasoning.summary", "summary": "H"}]},
        {"content": [{"type": "thought", "thought": "Hm."}, {"type": "text", "text": {"value": "Yes."}}]},
        {"content": [{"type": "text", "text": "Hm.", "thought": True}, {"type": "text", "text": "Yes."}]},
    ],
)
def test_reasoning_is_apart_wherever_the_endpoint_puts_it(message: object) -> None:
    answer = msgspec.json.encode({"choices": [{"message": message, "finish_reason": "stop"}]})

    found, kept = result_of(answer), result_of(answer, reasoning="keep")

    assert (found.text, found.reasoning, found.failure) == ("Yes.", "Hm.", None)
    assert kept.reasoning is None
    assert "Hm." in (kept.text or "")
    assert (kept.text or "").endswith("</think>\n\nYes.") or (kept.text or "").endswith("</think>Yes.")


def test_an_answer_that_went_into_reasoning_names_the_limit() -> None:
    message = {"content": "", "reasoning_content": "Okay, the user asks"}
    found = result_of(msgspec.json.encode({"choices": [{"message": message, "finish_reason": "length"}]}))

    assert found.kind == "unfinished"
    assert "finish_reason length at max_tokens 4096" in (found.failure or "")
    assert found.reasoning == "Okay, the user asks"


LONG = (Turn("user", "word " * 4000),)


@pytest.mark.parametrize(("tokens_in", "cut"), [(2048, True), (2999, True), (3001, False), (10, False), (0, False)])
def test_a_prompt_that_the_endpoint_cut_is_said(tokens_in: int, cut: bool) -> None:
    answer = msgspec.json.encode(
        {"choices": [{"message": {"content": "A"}}], "usage": {"prompt_tokens": tokens_in}},
    )

    found = read_result(answer, SPEC, ChatRequest(LONG, 1)).prompt_cut

    assert (found is not None) == cut
    assert found is None or "2," in found


def test_tokens_from_a_cache_count_as_read() -> None:
    usage = {"prompt_tokens": 100, "prompt_tokens_details": {"cached_tokens": 4000}}
    answer = msgspec.json.encode({"choices": [{"message": {"content": "A"}}], "usage": usage})

    assert read_result(answer, SPEC, ChatRequest(LONG, 1)).prompt_cut is None


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


@pytest.mark.parametrize("answer", [b'{"choices": []}', b'{"choices": null}', b'{"choices": [null]}'])
def test_a_completion_without_a_choice_is_asked_again(answer: bytes) -> None:
    with pytest.raises(FailedAttempt) as failed:
        result_of(answer)

    assert (failed.value.kind, failed.value.retry) == ("server_error", True)


@pytest.mark.parametrize(
    ("answer", "kind", "retry"),
    [
        (b'[{"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}]', "server_error", True),
        (b'{"object": "error", "message": "no such model", "code": 404}', "refused", False),
        (
            b'{"error": {"code": 502, "message": "cut"}, "choices": [{"message": {"content": "Hal"}}]}',
            "server_error",
            True,
        ),
        (
            b'{"choices": null, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}',
            "quota",
            False,
        ),
    ],
)
def test_an_error_wherever_it_stands_in_an_answer_is_that_error(answer: bytes, kind: str, retry: bool) -> None:
    with pytest.raises(FailedAttempt) as failed:
        result_of(answer)

    assert (failed.value.kind, failed.value.retry) == (kind, retry)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b'{"choices": [{"message": {"content": "a\nb\tc"}}]}', "a\nb\tc"),  # raw control characters
        (b'{"choices": [{"message": {"content": "a\xffb"}}]}', "a\ufffdb"),
        (b'{"choices": [{"message": {"content": "a"}}]}\n: done\n', "a"),
        (b'{"id": ' + b"9" * 5000 + b', "choices": [{"message": {"content": "a"}}]}', "a"),
        (b'{"choices": [{"index": 1, "message": {"content": "b"}}, {"index": 0, "message": {"content": "a"}}]}', "a"),
        (b'{"choices": [null, {"message": {"content": "a"}}]}', "a"),
    ],
)
def test_an_answer_that_is_no_strict_json_is_read(answer: bytes, text: str) -> None:
    assert result_of(answer).text == text


@pytest.mark.parametrize(
    ("choice", "end"),
    [
        ({"finish_reason": {"type": "length", "length": 16}}, "length"),
        ({"finish_reason": None, "native_finish_reason": "MAX_TOKENS"}, "MAX_TOKENS"),
        ({"finish_reason": "stop", "native_finish_reason": "MAX_TOKENS"}, "MAX_TOKENS"),
        ({"finish_reason": "length", "native_finish_reason": "end_turn"}, "length"),
        ({"finish_details": {"type": "max_tokens"}}, "max_tokens"),
        ({"finishReason": "MAX_TOKENS"}, "MAX_TOKENS"),
    ],
)
def test_an_end_is_read_wherever_it_stands(choice: dict[str, object], end: str) -> None:
    found = result_of(body("An answ", **choice))

    assert (found.text, found.kind, found.finish_reason) == (None, "unfinished", end)


def test_an_answer_of_as_many_tokens_as_allowed_that_has_no_end_was_cut() -> None:
    def with_tokens(count: int, **choice: object) -> bytes:
        choices = [{"message": {"content": "An answ"}, **choice}]
        return msgspec.json.encode({"choices": choices, "usage": {"completion_tokens": count}})

    assert result_of(with_tokens(64), max_tokens=64).kind == "unfinished"
    assert result_of(with_tokens(63), max_tokens=64).text == "An answ"
    assert result_of(with_tokens(64, finish_reason="stop"), max_tokens=64).text == "An answ"


@pytest.mark.parametrize(
    "error", [None, "", {}, [], False, {"message": None, "code": None}, {"message": ""}, {"code": 0, "message": ""}]
)
def test_an_error_that_says_nothing_is_none(error: object) -> None:
    choice = {"message": {"content": "Yes."}, "finish_reason": "stop"}

    assert result_of(msgspec.json.encode({"error": error, "choices": [choice]})).text == "Yes."
    assert result_of(msgspec.json.encode({"choices": [{**choice, "error": error}]})).text == "Yes."


@pytest.mark.parametrize("answer", [b'{"choices": [{"message": {"content": "An ans', b'{"error": {"code": 502}}'])
def test_an_incomplete_answer_and_an_error_without_words_are_asked_again(answer: bytes) -> None:
    with pytest.raises(FailedAttempt) as failed:
        result_of(answer)

    assert (failed.value.kind, failed.value.retry) == ("server_error", True)


@pytest.mark.parametrize(
    "message",
    [
        {"content": "Yes.", "thinking": "Hm."},
        {"content": "Yes.", "thinking_blocks": [{"type": "thinking", "thinking": "Hm.", "signature": "x"}]},
        {"content": "Yes.", "reasoning": {"content": "Hm."}},
        {"content": [{"thinking": "Hm."}, {"text": "Yes."}]},
        {"content": [{"reasoningContent": {"reasoningText": {"text": "Hm."}}}, {"text": "Yes."}]},
        {"content": [{"type": "reasoning_text", "text": "Hm."}, {"type": "output_text", "text": "Yes."}]},
        {"content": {"parts": [{"text": "Yes."}]}, "reasoning_text": "Hm."},
    ],
)
def test_reasoning_is_never_a_part_of_the_answer(message: object) -> None:
    found = result_of(msgspec.json.encode({"choices": [{"message": message, "finish_reason": "stop"}]}))

    assert (found.text, found.reasoning) == ("Yes.", "Hm.")


@pytest.mark.parametrize(
    ("logprobs", "first"),
    [
        ({"content": [{"token": "\n", "top_logprobs": [{"token": "\n", "logprob": 0}]}]}, {"\n": 0.0}),
        (
            {
                "content": [
                    {"token": "\u2581", "top_logprobs": [{"token": "\u2581", "logprob": 0}]},
                    {"token": "A", "top_logprobs": [{"token": "A", "logprob": -1}]},
                ]
            },
            {"A": -1.0},
        ),
        ({"tokens": ["A"], "token_logprobs": [-1], "top_logprobs": [{"A": -1, "B": -2.5}]}, {"A": -1.0, "B": -2.5}),
        ({"content": [{"token": "A", "top_logprobs": {"A": -1, "B": None}}]}, {"A": -1.0}),
        ({"top_logprobs": [None]}, {}),
        ({"top_logprobs": {"A": -1}}, {}),
        (None, {}),
    ],
)
def test_the_log_probabilities_of_the_first_visible_token_are_read(logprobs: object, first: dict[str, float]) -> None:
    assert result_of(body("A", logprobs=logprobs)).first_tokens == first


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 3, "completion_tokens": 2},
        {"input_tokens": 3, "output_tokens": 2},
        {"prompt_tokens": "3", "completion_tokens": "2"},
    ],
)
def test_tokens_are_counted_by_either_name(usage: object) -> None:
    found = result_of(msgspec.json.encode({"choices": [{"message": {"content": "Hi"}}], "usage": usage}))

    assert (found.tokens_in, found.tokens_out) == (3, 2)


def test_tokens_that_are_counted_apart_do_not_make_a_cut_prompt() -> None:
    usage = {"prompt_tokens": 300, "cache_read_input_tokens": 4000}
    answer = msgspec.json.encode({"choices": [{"message": {"content": "A"}}], "usage": usage})

    assert read_result(answer, SPEC, ChatRequest(LONG, 1)).prompt_cut is None


def test_a_piece_in_place_of_a_message_is_read() -> None:
    assert result_of(b'{"choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop"}]}').text == "Hi"


@pytest.mark.parametrize(
    ("choice", "kind"),
    [({"finish_reason": "content_filter"}, "content_filter"), ({"finish_reason": "length", "message": None}, "empty")],
)
def test_an_end_without_a_message_is_that_end(choice: object, kind: str) -> None:
    assert result_of(msgspec.json.encode({"choices": [choice]})).kind == kind


def test_a_text_in_place_of_a_message_is_read() -> None:
    assert result_of(b'{"choices": [{"text": "Hi", "finish_reason": "stop"}]}').text == "Hi"


@pytest.mark.parametrize("answer", [b"null", b'""\n'])
def test_a_body_that_holds_nothing_is_asked_for_again(answer: bytes) -> None:
    with pytest.raises(FailedAttempt) as failed:
        result_of(answer)

    assert failed.value.retry
