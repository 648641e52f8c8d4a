"""Refusals in the words of many servers, and of the proxies before them: their kind, and what is changed first."""

from __future__ import annotations

import json
import time

import pytest

from karma.llm.completions import ChatRequest, body_of
from karma.llm.refusals import refusal_of
from karma.llm.request_fields import Changes, dropped, next_changes
from karma.messages import ModelSpec, Turn
from karma.telemetry.failure_kinds import kind_of

SPEC = ModelSpec(name="red", backend="openai", model="red")
ASKED = ChatRequest((Turn("user", "Hi"),), 7)
LETTER = ChatRequest((Turn("user", "Hi"),), 7, {"logprobs": True, "top_logprobs": 10, "max_tokens": 1})

NO_LIMIT: Changes = {"max_tokens": None}
NO_LOGPROBS: Changes = {"logprobs": None, "top_logprobs": None}
FEWER: Changes = {"top_logprobs": 5}


def changes_of(status: int, answer: object, request: ChatRequest = ASKED) -> Changes:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return next_changes(SPEC, request, {}, refusal_of(status, {}, body))


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        # The value is wrong: under another name it would only be ignored.
        ("max_tokens is too large: 8192. This model supports at most 4096 completion tokens", NO_LIMIT),
        ("max_tokens: 8192 > 4096, which is the maximum allowed number of output tokens for claude-3", NO_LIMIT),
        ("`max_tokens` must be greater than `thinking.budget_tokens`.", NO_LIMIT),
        ("max_tokens: must be <= 2048", NO_LIMIT),
        ("Illegal max_tokens", NO_LIMIT),
        ("max_tokens: invalid", NO_LIMIT),
        ("max_tokens参数不合法", NO_LIMIT),
        ("Invalid parameter: max_tokens", {"max_tokens": "max_completion_tokens"}),
        ("max_tokens must be an integer that the model accepts", NO_LIMIT),
        ("max_tokens must be at least 1, got 0.", NO_LIMIT),
        ("max_tokens (4096) exceeds the limit (2048)", NO_LIMIT),
        ("Requests with max_tokens > 4096 must have stream=true", NO_LIMIT),
        ("max_tokens=4096 cannot be greater than max_model_len=2048. Please request fewer output tokens.", NO_LIMIT),
        ("`max_tokens` must be <= `2048`, the maximum value is less than the `context_window` of this model", NO_LIMIT),
        ("too many tokens: max tokens must be less than or equal to 4096, the maximum output", NO_LIMIT),
        ("The maximum tokens you requested exceeds the model limit of 2048.", NO_LIMIT),
        ("max_tokens 参数非法。请检查文档。取值范围 [1, 4095]", NO_LIMIT),
        ("temperature: Input should be less than or equal to 1", {"temperature": None}),
        ("#/temperature: 1.5 is not less or equal to 1.0, please reformat your input", {"temperature": None}),
        ("temperature is out of bounds", {"temperature": None}),
        ("temperature: expected 1, got 0.7", {"temperature": None}),
        ("'top_p' must greater than 0 and less than 1", {"top_p": None}),
        ("invalid request: p must be between 0.01 and 0.99 inclusive", {"top_p": None}),
        # The names of the server behind a proxy.
        ("it has a maxOutputTokens value of 100000 but the supported range is from 1 to 8193", NO_LIMIT),
        ("it has a topP value of 1.5 but the supported range is from 0 to 1", {"top_p": None}),
        ("Input validation error: `max_new_tokens` must be <= 512. Given: 4096", NO_LIMIT),
        ("num_predict must be lower than 2048", NO_LIMIT),
        # Words of any kind, as long as they name the field.
        ("Parameter 'seed' must not be set for this model.", {"seed": None}),
        ("seed: not implemented", {"seed": None}),
        ("Please remove the 'seed' parameter.", {"seed": None}),
        # A list of what is accepted refuses none of its fields.
        ("unknown field `top_p`, expected one of `model`, `max_tokens`, `temperature`, `seed`", {"top_p": None}),
        ("Unknown parameter 'top_p'. Allowed: model, messages, temperature, max_tokens, seed", {"top_p": None}),
        ("Unsupported field top_p; supported: model, messages, temperature, max_tokens, seed", {"top_p": None}),
        ("Unknown: top_p (must be one of: model, messages, temperature, max_tokens, seed)", {"top_p": None}),
        ("Only these are supported: model, messages, temperature, max_tokens, seed", {"top_p": None}),
        ("Missing fields: model, messages, prompt", {}),
        # What is named first, unless several are named together.
        ("Unsupported value: 'temperature' is fixed for this model, which has top_p and a seed", {"temperature": None}),
        ("`temperature` and `top_p` cannot both be specified for this model, also with a seed", {"top_p": None}),
        # Names that are no fields.
        ("The model bytedance-seed/seed-oss-36b does not exist or is invalid", {}),
        ("Invalid model: seed-tts", {}),
        # pydantic's errors as a text, with the request repeated.
        (
            "[{'type': 'extra_forbidden', 'loc': ('body', 'top_p'), 'msg': 'Extra inputs are not permitted', "
            "'input': {'model': 'x', 'temperature': 0.7, 'seed': 7}}]",
            {"top_p": None},
        ),
        ("[{'type': 'missing', 'loc': ('body', 'x'), 'input': {'messages': [], 'temperature': 0.7}}]", {}),
    ],
)
def test_the_words_of_an_endpoint_tell_what_it_refuses(words: str, changes: Changes) -> None:
    assert changes_of(400, {"error": {"message": words}}) == changes


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ("Requested sample logprobs of 10, which is greater than max allowed: 5", FEWER),
        ("Invalid 'top_logprobs': integer above maximum value. Expected a value <= 5, but got 10 instead.", FEWER),
        ("top_logprobs must be between 0 and 8", FEWER),
        ("Input validation error: `top_n_tokens` must be >= 0 and <= 5. Given: 10", FEWER),
        ("Input should be less than or equal to 5, field: 'top_logprobs', value: 10", FEWER),
        ("Logprobs is not enabled for models/gemini-2.5-flash", NO_LOGPROBS),
        ("Argument not supported on this model: topLogprobs", NO_LOGPROBS),
        ("responseLogprobs is not supported", NO_LOGPROBS),
        (
            "<400> InvalidParameter: The logprobs parameter is not support for this model",
            NO_LOGPROBS,
        ),
        ("This server was started without logprobs enabled (use --logits-all)", NO_LOGPROBS),
    ],
)
def test_fewer_log_probabilities_are_asked_for_before_none(words: str, changes: Changes) -> None:
    assert changes_of(400, {"error": {"message": words}}, LETTER) == changes


def test_log_probabilities_are_left_out_where_fewer_are_refused_too() -> None:
    refusal = refusal_of(400, {}, b'{"error": "top_logprobs must be between 0 and 3"}')

    assert next_changes(SPEC, LETTER, FEWER, refusal) == NO_LOGPROBS


@pytest.mark.parametrize(
    ("status", "answer", "changes"),
    [
        (400, {"error": {"message": "Invalid", "issues": [{"code": "too_big", "path": ["seed"]}]}}, {"seed": None}),
        (400, {"message": "Invalid", "errors": [{"field": "top_p", "message": "no"}]}, {"top_p": None}),
        (400, {"error": "Invalid", "details": [{"instancePath": "/top_p", "message": "must be < 1"}]}, {"top_p": None}),
        (
            400,
            [{"error": {"details": [{"fieldViolations": [{"field": "generation_config.seed", "description": "no"}]}]}}],
            {"seed": None},
        ),
        (400, {"error": {"message": "no", "param": "generation_config.max_output_tokens", "code": 8}}, None),
        (400, {"error": {"message": "Unsupported with temperature", "param": "stop"}}, {}),
        (400, {"message": "must NOT have more", "params": {"additionalProperty": "seed"}}, {"seed": None}),
        (400, {"top_p": ["This field is not allowed."]}, {"top_p": None}),
        (422, b"<html><body><h1>422</h1><p>unknown parameter max_tokens</p></body></html>", None),
        (501, {"error": {"message": "seed is not supported by this server"}}, {"seed": None}),
        (404, {"error": {"message": "Unknown seed"}}, {}),
        (401, {"error": {"message": "Unsupported seed"}}, {}),
    ],
)
def test_a_field_is_named_in_many_forms(status: int, answer: object, changes: Changes | None) -> None:
    assert changes_of(status, answer) == ({"max_tokens": "max_completion_tokens"} if changes is None else changes)


@pytest.mark.parametrize(
    ("status", "words", "code", "kind", "retry"),
    [
        (424, "Request failed during generation: CUDA out of memory", "generation", "server_error", True),
        (498, "Flex tier capacity exceeded", "", "server_error", True),
        (500, "Input prompt is too big compared to KV size.", "", "does_not_fit", False),
        (400, "Input tokens exceed the configured limit of 272000 tokens.", "", "does_not_fit", False),
        (500, "ThrottlingException: Too many tokens, please wait before trying again.", "", "rate_limited", True),
        (400, "litellm.RateLimitError: slow down", "", "rate_limited", True),
        (429, "Allocated quota exceeded, please increase it.", "insufficient_quota", "rate_limited", True),
        (429, "Free allocated quota exceeded.", "insufficient_quota", "quota", False),
        (403, "Your newly created team doesn't have any credits yet.", "", "quota", False),
        (400, "Access denied, please make sure your account is in good standing.", "Arrearage", "quota", False),
        (400, "You have reached your specified API usage limits.", "", "quota", False),
        (403, "your account has an overdue balance", "AccountOverdueError", "quota", False),
        (429, "余额不足或无可用资源包,请充值。", "1113", "quota", False),
        (400, "The response was filtered due to the prompt", "content_filter", "content_filter", False),
        (400, "Content Exists Risk", "invalid_request_error", "content_filter", False),
        (400, "Output blocked by content filtering policy: 'the unknown seed'", "", "content_filter", False),
        (400, "Output data may contain it.", "data_inspection_failed", "content_filter", False),
        (403, 'x requires moderation on Azure. Your input was flagged for "violence".', "", "content_filter", False),
        (400, "系统检测到输入或生成内容可能包含不安全或敏感内容", "1301", "content_filter", False),
    ],
)
def test_each_refusal_has_its_kind_and_nothing_is_learnt_from_it(
    status: int, words: str, code: str, kind: str, retry: bool
) -> None:
    body = json.dumps({"error": {"message": words, "code": code}}).encode()
    found = refusal_of(status, {}, body)

    assert (found.kind, found.retry) == (kind, retry)
    assert kind_of(found.reason) == kind
    assert next_changes(SPEC, ASKED, {}, found) == {}


def test_a_prompt_and_its_answer_that_do_not_fit_together_are_asked_without_the_limit() -> None:
    words = {"error": {"message": "Please reduce the length of the messages or completion.", "param": "messages"}}

    assert changes_of(400, words) == NO_LIMIT


def refused_body(style: str, bad: list[str], known: list[str], body: dict[str, object]) -> object:
    """The refusal of a server that accepts the `known` fields only."""
    listed = ", ".join(f"`{name}`" for name in known)
    forms: dict[str, object] = {
        "openai": {"error": {"message": f"Unrecognized request arguments supplied: {', '.join(bad)}"}},
        "param": {"error": {"message": f"Unknown parameter: '{bad[0]}'.", "param": bad[0]}},
        "pydantic": {"detail": [{"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra"} for name in bad]},
        "vllm": {"message": str([{"loc": ("body", name), "msg": "Extra", "input": body} for name in bad])},
        "serde": f"unknown field `{bad[0]}`, expected one of {listed} at line 1 column 9".encode(),
        "litellm": {"error": {"message": f"groq does not support parameters: {bad}, for model=bytedance/seed-1"}},
        "accepted": {"error": f"'{bad[0]}' is not one of the accepted parameters: {listed}"},
        "only": {"error": f"Only the following fields are supported: {listed}"},
        "java": {"message": f'Unrecognized field "{bad[0]}" ({len(known)} known properties: {listed})'},
    }
    return forms[style]


@pytest.mark.parametrize(
    "refused", [["seed"], ["top_p"], ["temperature", "seed"], ["logprobs", "top_logprobs", "seed"]]
)
@pytest.mark.parametrize(
    "style", ["openai", "param", "pydantic", "vllm", "serde", "litellm", "accepted", "only", "java"]
)
def test_a_strict_server_loses_no_field_that_it_accepts(style: str, refused: list[str]) -> None:
    """Asked again and again, as the client does, until it refuses nothing."""
    known = ["model", "messages", "temperature", "top_p", "max_tokens", "seed", "logprobs", "top_logprobs", "stream"]
    known = [name for name in known if name not in refused]
    changes: dict[str, str | int | None] = {}
    for _attempt in range(9):
        body = json.loads(body_of(SPEC, LETTER, changes))
        bad = [name for name in body if name not in known]
        if not bad:
            break
        answer = refused_body(style, bad, known, body)
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        changes |= next_changes(SPEC, LETTER, changes, refusal_of(400, {}, content))

    assert sorted(dropped(SPEC, LETTER, changes)) == sorted(refused)


def test_long_words_of_an_endpoint_are_read_in_linear_time() -> None:
    begun = time.monotonic()
    for piece in ("'loc': (" + "a" * 50, "'loc': ('a', ", "a, ", "'input': {", "maximum ", "account ", "input is "):
        for body in (piece * 400, "'loc': (" + piece * 400):
            changes_of(400, {"error": {"message": body}})

    assert time.monotonic() - begun < 5
