"""A request has the fields that its endpoint accepts; the pool file always wins."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from karma.llm.completions import ChatRequest, body_of
from karma.llm.refusals import FailedAttempt
from karma.llm.request_fields import Changes, Lessons, dropped, next_changes
from karma.messages import ModelSpec, Turn

SPEC = ModelSpec(name="red", backend="openai", model="red")
ASKED = ChatRequest((Turn("user", "Hi"),), 7)
LETTER = ChatRequest((Turn("user", "Hi"),), 7, {"logprobs": True, "top_logprobs": 10, "max_tokens": 1})


def sent(spec: ModelSpec, request: ChatRequest = ASKED, changes: Changes | None = None) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.json.decode(body_of(spec, request, changes))
    del fields["model"], fields["messages"]
    return fields


def replace_extra(extra: dict[str, Any]) -> ChatRequest:
    return ChatRequest(ASKED.messages, ASKED.seed, extra)


def refusal(named: frozenset[str] | str) -> FailedAttempt:
    return FailedAttempt("refused", f"400: {named}", retry=False, named=named)


def test_every_setting_is_sent_unless_the_pool_file_says_otherwise() -> None:
    assert sent(SPEC) == {"temperature": 0.7, "top_p": 1.0, "max_tokens": 4096, "seed": 7}


def test_a_setting_that_is_default_is_not_sent_and_one_with_a_name_is_sent_under_it() -> None:
    quiet = replace(SPEC, temperature="default", top_p="default", seed="default", max_tokens="default")
    renamed = replace(SPEC, fields={"max_tokens": "max_completion_tokens"})

    assert sent(quiet) == {}
    assert "max_tokens" not in sent(renamed)
    assert sent(renamed)["max_completion_tokens"] == 4096
    assert sent(renamed, LETTER)["max_completion_tokens"] == 1


def test_options_override_settings() -> None:
    assert sent(replace(SPEC, options={"temperature": 0.1, "think": False}))["temperature"] == 0.1


@pytest.mark.parametrize(
    ("named", "changes"),
    [
        (frozenset({"max_tokens"}), {"max_tokens": "max_completion_tokens"}),
        ("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'.", {"max_tokens": "max_completion_tokens"}),
        (frozenset({"temperature"}), {"temperature": None}),
        (frozenset({"seed", "top_p"}), {"seed": None, "top_p": None}),
        ("temperature and top_p: only one of them.", {"top_p": None}),
        (
            "Unsupported parameter 'temperature'. Supported parameters: model, max_tokens, seed, top_p",
            {"temperature": None},
        ),
        ("Temperature must be 1 for this model", {"temperature": None}),
        ("Invalid max_tokens value, the valid range of max_tokens is [1, 2048]", {"max_tokens": None}),
        ("Output blocked by content filtering: 'set the oven temperature'", {}),
        ("no such model", {}),
        (frozenset({"messages"}), {}),
        (frozenset(), {}),
    ],
)
def test_a_refused_field_is_renamed_or_left_out(named: frozenset[str] | str, changes: Changes) -> None:
    assert next_changes(SPEC, ASKED, {}, refusal(named)) == changes


@pytest.mark.parametrize(
    "said",
    [
        frozenset({"response_format"}),
        frozenset({"response_format.json_schema"}),
        "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
        "This response_format type is unavailable now",
        "response_format.type `json_schema` is unavailable now",
        "This model does not support response format `json_schema`. See supported models.",
        "Json mode is not supported for this model.",
        "Structured outputs are not supported for this model",
        "failed to parse grammar",
    ],
)
def test_an_answer_in_json_that_is_refused_is_asked_for_in_words_from_then_on(said: frozenset[str] | str) -> None:
    schema, other = (replace_extra({"response_format": {"type": kind}}) for kind in ("json_schema", "json_object"))
    lessons = Lessons()

    changes = next_changes(SPEC, schema, {}, refusal(said))

    assert changes == {"response_format": None}
    assert "response_format" in sent(SPEC, schema)
    assert "response_format" not in sent(SPEC, schema, changes)
    assert dropped(SPEC, schema, changes) == ("response_format",)
    assert lessons.changes(SPEC, schema) == {}
    assert lessons.keep(SPEC, schema, changes) == changes
    assert lessons.changes(SPEC, other) == changes
    assert lessons.changes(SPEC, ASKED) == {}
    assert next_changes(SPEC, ASKED, {}, refusal(said)) == {}


def test_tokens_that_an_endpoint_gives_no_log_probability_of_are_left_out_alone() -> None:
    exact = replace_extra({**LETTER.extra, "logprob_token_ids": [32, 33]})

    changes = next_changes(SPEC, exact, {}, refusal("extra_forbidden: logprob_token_ids"))

    assert changes == {"logprob_token_ids": None}
    assert Lessons().keep(SPEC, exact, changes) == changes
    assert sent(SPEC, exact, changes)["top_logprobs"] == 10


def test_no_field_is_changed_without_end() -> None:
    said = refusal("temperature, top_p, seed, max_tokens and max_completion_tokens are not supported")
    changes: dict[str, str | None] = {}
    for _attempt in range(5):
        further = next_changes(SPEC, ASKED, changes, said)
        assert further
        changes |= further

    assert next_changes(SPEC, ASKED, changes, said) == {}
    assert sent(SPEC, ASKED, changes) == {}
    assert set(dropped(SPEC, ASKED, changes)) == {"temperature", "top_p", "seed", "max_tokens"}


def test_what_the_pool_file_decides_is_never_changed() -> None:
    fixed = replace(SPEC, fields={"max_tokens": "n_predict"}, seed="default", options={"top_p": 0.5})

    for name in ("max_tokens", "n_predict", "seed", "top_p"):
        assert next_changes(fixed, ASKED, {}, refusal(frozenset({name}))) == {}


def test_a_renamed_field_is_not_dropped() -> None:
    assert dropped(SPEC, ASKED, {"max_tokens": "max_completion_tokens"}) == ()


def test_log_probabilities_are_left_out_together() -> None:
    changes = next_changes(SPEC, LETTER, {}, refusal("logprobs are not supported"))

    assert changes == {"logprobs": None, "top_logprobs": None}
    assert "top_logprobs" not in sent(SPEC, LETTER, changes)


def test_an_answer_that_does_not_fit_is_asked_for_without_its_limit() -> None:
    both = FailedAttempt("does_not_fit", "the prompt does not fit: 400: 'max_tokens' is too large: 4096", retry=False)
    prompt = FailedAttempt("does_not_fit", "the prompt does not fit: 400: the context length is 4096", retry=False)

    assert next_changes(SPEC, ASKED, {}, both) == {"max_tokens": None}
    assert next_changes(SPEC, ASKED, {"max_tokens": None}, both) == {}
    assert next_changes(SPEC, ASKED, {}, prompt) == {}


def test_a_value_that_is_refused_teaches_nothing_about_other_values() -> None:
    hot, cold, lessons = replace(SPEC, temperature=1.8), replace(SPEC, temperature=0.2), Lessons()

    assert lessons.keep(hot, ASKED, {"temperature": None, "seed": None}) == {"temperature": None, "seed": None}

    assert lessons.changes(hot, ASKED) == {"temperature": None, "seed": None}
    assert lessons.changes(cold, ASKED) == {"seed": None}
    assert lessons.keep(hot, ASKED, {"temperature": None}) == {}


def test_a_name_that_is_learnt_holds_for_every_value() -> None:
    lessons = Lessons()
    lessons.keep(SPEC, ASKED, {"max_tokens": "max_completion_tokens"})

    assert lessons.changes(SPEC, LETTER) == {"max_tokens": "max_completion_tokens"}
    lessons.keep(SPEC, LETTER, {"max_tokens": None})
    assert lessons.changes(SPEC, LETTER) == {"max_tokens": None}
    assert lessons.changes(SPEC, ASKED) == {"max_tokens": "max_completion_tokens"}


def test_a_smaller_value_is_sent_in_place_of_one_that_is_too_large() -> None:
    assert sent(SPEC, LETTER, {"top_logprobs": 5})["top_logprobs"] == 5
    assert dropped(SPEC, LETTER, {"top_logprobs": 5}) == ()
