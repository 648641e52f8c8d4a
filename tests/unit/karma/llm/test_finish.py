"""An answer that was not finished is no answer, unless the pool file keeps it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from karma.llm.finish import finish_of, finished
from karma.messages import ModelSpec
from karma.telemetry.failure_kinds import kind_of

SPEC = ModelSpec(name="red", backend="openai", model="red", max_tokens=512)


@pytest.mark.parametrize("reason", ["length", "max_tokens", "MAX_TOKENS"])
def test_an_answer_that_was_cut_is_a_failure_that_says_what_helps(reason: str) -> None:
    found = finished(SPEC, "An answer that is cut in the mid", reason)

    assert (found.text, found.kind) == (None, "unfinished")
    assert found.failure == (
        f"unfinished answer: finish_reason {reason} at max_tokens 512. "
        'Raise max_tokens, or keep such answers with on_length = "keep"'
    )


@pytest.mark.parametrize("reason", ["content_filter", "SAFETY"])
def test_an_answer_that_was_filtered_is_a_failure(reason: str) -> None:
    found = finished(SPEC, "An answer, but", reason)

    assert (found.text, found.kind) == (None, "content_filter")
    assert f"finish_reason {reason}" in (found.failure or "")


def test_the_pool_file_keeps_each_by_its_reason() -> None:
    keeps = replace(SPEC, on_length="keep")

    assert finished(keeps, "An answ", "length").text == "An answ"
    assert finished(keeps, "An answ", "content_filter").text is None
    assert finished(replace(SPEC, on_content_filter="keep"), "An answ", "content_filter").text == "An answ"


@pytest.mark.parametrize("reason", [None, "stop", "tool_calls", "7"])
def test_any_other_end_is_an_answer(reason: str | None) -> None:
    assert finished(SPEC, "Yes.", reason).text == "Yes."


@pytest.mark.parametrize("reason", ["length", "stop", None])
def test_unfinished_reasoning_is_a_failure_even_where_cut_answers_are_kept(reason: str | None) -> None:
    found = finished(replace(SPEC, on_length="keep"), "<think>\nOkay, so I shoul", reason)

    assert (found.text, found.kind, found.reasoning) == (None, "unfinished", "Okay, so I shoul")


def test_the_limit_is_named_as_it_was() -> None:
    endpoint_default = finished(replace(SPEC, max_tokens="default"), "An answ", "length")

    assert "max_tokens (the default of the endpoint)" in (endpoint_default.failure or "")
    assert "at 40 tokens" in (finished(SPEC, "An answ", "length", limit="40 tokens").failure or "")


@pytest.mark.parametrize(
    ("text", "reason"), [("An answ", "length"), ("An answ", "content_filter"), ("<think>a", "stop"), ("", "stop")]
)
def test_each_failure_has_the_kind_that_its_words_are_counted_by(text: str, reason: str) -> None:
    found = finished(SPEC, text, reason)

    assert kind_of(str(found.failure)) == found.kind


@pytest.mark.parametrize(
    ("finish_reason", "end"),
    [
        ("refusal", "content_filter"),
        ("content-filter", "content_filter"),
        ("FinishReason.MAX_TOKENS", "length"),
        ("FINISH_REASON_MAX_TOKENS", "length"),
        ("context_length_exceeded", "length"),
        ("length ", "length"),
        ("cancelled", "error"),
        ("content_filter: PROHIBITED_CONTENT", "content_filter"),
        ("function_call_filter: MALFORMED_FUNCTION_CALL", "error"),
        ("REASON_MAX_LEN", "length"),
        ("ALTERNATIVE_STATUS_TRUNCATED_FINAL", "length"),
        ("max_completion_tokens", "length"),
        ("maximum tokens", "length"),
        ("not_finished", "length"),
        ("LANGUAGE", "content_filter"),
        ("blacklist", "content_filter"),
        ("MALFORMED_RESPONSE", "error"),
        ("COMPLETE", "stop"),
        ("eos_token", "stop"),
        ("end_turn", "stop"),
        (None, "stop"),
    ],
)
def test_every_providers_words_for_the_end(finish_reason: str | None, end: str) -> None:
    assert finish_of(finish_reason) == end


def test_a_tag_in_an_answer_whose_reasoning_is_apart_belongs_to_the_answer() -> None:
    spec = ModelSpec(name="red", backend="openai", model="red")
    for text in ("Close it with </think> now.", "<think> is a tag."):
        assert finished(spec, text, "stop", reasoning="x").text == text
    assert finished(spec, "<think>more</think>Yes.", "stop", reasoning="x").reasoning == "x\n\nmore"


def test_an_end_by_an_error_is_a_failure_whichever_backend_says_so() -> None:
    found = finished(replace(SPEC, on_length="keep", on_content_filter="keep"), "An answ", "abort")

    assert (found.text, found.kind) == (None, "server_error")
    assert kind_of(str(found.failure)) == "server_error"
