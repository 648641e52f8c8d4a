"""A body of server-sent events is read as the completion that they add up to; one that broke off is no answer."""

from __future__ import annotations

import json

import pytest

from karma.llm.completions import ChatRequest, ChatResult, result_of
from karma.llm.refusals import FailedAttempt, refusal_of
from karma.messages import ModelSpec, Turn

SPEC = ModelSpec(name="red", backend="openai", model="red-1")


def events(*pieces: object, end: str = "data: [DONE]\n\n", line: str = "\n\n") -> bytes:
    return ("".join(f"data: {json.dumps(piece)}{line}" for piece in pieces) + end).encode()


def piece(content: object = None, finish_reason: str | None = None, **delta: object) -> dict[str, object]:
    said = {"content": content, **delta} if content is not None or delta else {}
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": said, "finish_reason": finish_reason}]}


def read(body: bytes, **extra: object) -> ChatResult:
    return result_of(body, SPEC, ChatRequest((Turn("user", "Hi"),), 1, extra))


USAGE = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}


@pytest.mark.parametrize("line", ["\n\n", "\r\n\r\n", "\n"])
@pytest.mark.parametrize("before", [b"", b": OPENROUTER PROCESSING\n\n", b"\xef\xbb\xbf", b"event: message\n"])
def test_the_pieces_of_an_answer_are_joined(line: str, before: bytes) -> None:
    body = events(piece("", role="assistant"), piece("Yes"), piece(", no."), piece(None, "stop"), USAGE, line=line)

    found = read(before + body)

    assert (found.text, found.finish_reason) == ("Yes, no.", "stop")
    assert (found.tokens_in, found.tokens_out) == (3, 2)


def test_reasoning_and_parts_of_the_content_are_joined_apart() -> None:
    thinking = [{"type": "thinking", "thinking": [{"type": "text", "text": "m."}]}]
    body = events(piece(reasoning_content="H"), piece(thinking), piece([{"type": "text", "text": "Yes."}], "stop"))

    assert (read(body).text, read(body).reasoning) == ("Yes.", "Hm.")


def test_an_answer_that_was_cut_or_refused_is_none() -> None:
    assert read(events(piece("An answ"), piece(None, "length"))).kind == "unfinished"
    assert read(events(piece(refusal="I cannot."), piece(None, "stop"))).kind == "model_refusal"


def test_an_end_without_a_finish_reason_is_an_end_only_if_it_is_marked() -> None:
    assert read(events(piece("Yes."))).text == "Yes."
    for end in ("", "data: {"):
        with pytest.raises(FailedAttempt) as failed:
            read(events(piece("An answ"), end=end))
        assert (failed.value.kind, failed.value.retry) == ("server_error", True)


def test_an_error_among_the_pieces_is_that_error() -> None:
    with pytest.raises(FailedAttempt) as failed:
        read(events(piece("An answ"), {"error": {"message": "overloaded", "code": 429}}))
    assert failed.value.kind == "rate_limited"
    assert refusal_of(400, {}, events({"error": {"message": "no seed"}})).reason == "400: no seed"


def test_a_whole_message_among_the_events_is_the_answer() -> None:
    whole = {"choices": [{"message": {"content": "Yes."}, "finish_reason": "stop"}]}

    assert read(events(whole)).text == "Yes."
    assert read(events(piece("Ye"), piece("s."), whole)).text == "Yes."


def test_other_choices_and_events_that_are_no_objects_are_left_out() -> None:
    other = {"choices": [{"index": 1, "delta": {"content": "other"}}, None]}

    assert read(events(piece("Yes."), other, [1], "x", piece(None, "stop"))).text == "Yes."


def test_the_log_probabilities_of_the_first_token_are_those_of_the_first_piece() -> None:
    first, second = piece("A"), piece("B", "length")
    first["choices"][0]["logprobs"] = {"content": [{"token": "A", "top_logprobs": [{"token": "A", "logprob": -0.1}]}]}  # type: ignore[index]
    second["choices"][0]["logprobs"] = {"content": [{"token": "B", "top_logprobs": [{"token": "B", "logprob": -0.2}]}]}  # type: ignore[index]

    assert read(events(first, second), logprobs=True, max_tokens=2).first_tokens == {"A": -0.1}


def test_events_without_data_are_no_completion() -> None:
    with pytest.raises(FailedAttempt):
        read(b"event: ping\n\ndata: [DONE]\n\n")


def test_pieces_that_are_lines_and_no_events_are_joined_too() -> None:
    lines = [json.dumps(each) for each in (piece("Ye"), piece("s."), piece(None, "stop"))]

    assert read("\n".join(lines).encode()).text == "Yes."
    with pytest.raises(FailedAttempt) as failed:
        read("\n".join(lines[:2]).encode())
    assert failed.value.retry


def test_a_piece_without_an_end_is_no_answer() -> None:
    with pytest.raises(FailedAttempt):
        read(b'{"choices": [{"delta": {"content": "An answ"}}]}')
