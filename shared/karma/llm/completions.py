"""Requests and responses of an OpenAI-compatible chat endpoint: bodies and completions.

An endpoint is untrusted: sizes, numbers and texts are limited to values that a database accepts. Only the content must
be sound: whatever else cannot be read is left out, and the text is kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from karma.llm.event_stream import decoded
from karma.llm.finish import finish_of, finished
from karma.llm.key_masking import mask
from karma.llm.lenient_json import after_comments
from karma.llm.message_text import refusal_in, text_and_reasoning
from karma.llm.provider_errors import ProviderError, provider_error
from karma.llm.refusals import FailedAttempt, failure_of
from karma.llm.request_fields import Changes, own_fields, renamed
from karma.llm.token_usage import NO_USAGE, TOKENS_IN, TOKENS_OUT, TokenUsage, cached, counts, usage_of
from karma.messages import ModelSpec, Turn, with_system
from karma.messages.results import storable

if TYPE_CHECKING:
    import aiohttp

_BODY_BYTES = 8 << 20
_FINISH_CHARACTERS = 40
#: Where an end stands that `finish_reason` does not say: OpenRouter, Gemini, OpenAI's older models.
_NATIVE_ENDS = ("native_finish_reason", "finishReason", "finish_details")
_ANY_NATIVE_END = frozenset(_NATIVE_ENDS)
_EMPTY = (b"", b"null", b'""')
_SHOWN_CHARACTERS = 200
_LARGEST_LOGPROB = 2**31  # a larger one is no log-probability

_WORD = re.compile(r"\w\S*")
#: Least tokens per word of a prompt that was read whole. Tokenizers split words and do not join them.
_TOKENS_PER_WORD = 0.75
#: No server has so short a context: a smaller number of tokens is a wrong count, such as a constant, or one without
#: the tokens that were cached; not a prompt that was cut.
_SHORTEST_CONTEXT = 256


@dataclass(frozen=True)
class ChatRequest:
    """One call: a chat, a seed, and additional fields of the body."""

    messages: tuple[Turn, ...]
    seed: int
    extra: Mapping[str, Any] = field(default_factory=dict)


class ChatResult(msgspec.Struct, frozen=True):
    """The result of one call: a text, or a failure with its reason.

    Attributes:
        text: the answer without the model's reasoning.
        failure: the reason; it may quote the endpoint.
        kind: the kind of the failure: `rate_limited`, `quota`, `server_error`, `timeout`, `connection`, `refused`,
            `model_refusal`, `does_not_fit`, `unfinished`, `content_filter`, `empty`, `missing_key`, `redirect` or
            `too_large`.
        finish_reason: by the endpoint.
        tokens_in: read, those from a cache included.
        tokens_out: written, reasoning included.
        tokens_cached: of those read: from the endpoint's cache.
        tokens_reasoning: of those written: reasoning.
        latency_s: of the whole call, retries and waits included.
        first_tokens: token → log-probability of the first token, if requested.
        reasoning: the model's, also of a failure.
        dropped: settings that the endpoint refused and that were left out.
        logprobs_missing: log-probabilities were requested, and none came.
        prompt_cut: how the endpoint cut the prompt, by its count of tokens; None if it did not.
    """

    text: str | None = None
    failure: str | None = None
    kind: str | None = None
    finish_reason: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens_cached: int | None = None
    tokens_reasoning: int | None = None
    latency_s: float | None = None
    first_tokens: Mapping[str, float] = msgspec.field(default_factory=dict)
    reasoning: str | None = None
    dropped: tuple[str, ...] = ()
    logprobs_missing: bool = False
    prompt_cut: str | None = None

    @property
    def usage(self) -> TokenUsage:
        """The tokens of the call."""
        return TokenUsage(self.tokens_in, self.tokens_out, self.tokens_cached, self.tokens_reasoning)


def body_of(spec: ModelSpec, request: ChatRequest, changes: Changes | None = None) -> bytes:
    """The JSON of a call; the model's options and the request's fields override KARMA's own."""
    own = {name: value for name, value in own_fields(spec, request).items() if name not in request.extra}
    body = {
        "model": spec.model,
        "messages": with_system(request.messages, spec.system),
        **renamed(spec, own, changes or {}),
        **spec.options,
        **renamed(spec, request.extra, changes or {}),
    }
    return msgspec.json.encode(body)


async def read(response: aiohttp.ClientResponse) -> bytes:
    """The body of a response, up to 8 MiB."""
    parts = bytearray()
    async for part in response.content.iter_any():
        parts += part
        if len(parts) > _BODY_BYTES:
            raise FailedAttempt("too_large", f"the answer is larger than {_BODY_BYTES >> 20} MiB", retry=False)
    return bytes(parts)


def result_of(body: bytes, spec: ModelSpec, request: ChatRequest) -> ChatResult:
    """The result in a body of status 200.

    Raises:
        FailedAttempt: it is empty, no chat completion, or holds an error.
    """
    try:
        choice, usage = _choice_in(body)
    except FailedAttempt as cause:
        cause.usage = _usage_of_failure(body)
        raise
    message = choice["message"]
    finish_reason = _finish_reason(choice)
    text, reasoning = text_and_reasoning(message)
    tokens_in, tokens_out = counts(usage, TOKENS_IN), counts(usage, TOKENS_OUT)
    if finish_reason is None and tokens_out is not None and spec.max_tokens != "default":
        finish_reason = "length" if tokens_out >= spec.max_tokens else None
    first_tokens = _first_tokens(choice.get("logprobs"))
    found = finished(spec, text, finish_reason, reasoning, allow_length="max_tokens" in request.extra)
    failure, kind = found.failure, found.kind
    if failure is not None and not text.strip() and (refusal := refusal_in(message)):
        failure, kind = f"refused: {storable(mask(' '.join(refusal.split()))[:_SHOWN_CHARACTERS])}", "model_refusal"
    return ChatResult(
        text=found.text,
        failure=failure,
        kind=kind,
        finish_reason=finish_reason,
        **usage_of(usage)._asdict(),
        first_tokens=first_tokens,
        reasoning=found.reasoning,
        logprobs_missing=bool(request.extra.get("logprobs")) and not first_tokens,
        prompt_cut=_prompt_cut(request.messages, tokens_in, usage),
    )


def _usage_of_failure(body: bytes) -> TokenUsage:
    """The tokens of an attempt that failed, which may have to be paid for."""
    completion = decoded(body)
    usage = completion.get("usage") if isinstance(completion, dict) else None
    return usage_of(usage) if isinstance(usage, dict) else NO_USAGE


def _choice_in(body: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """The first choice of a completion, with a message, and its usage."""
    if body.strip() in _EMPTY:
        raise FailedAttempt("server_error", "the endpoint gave an empty body with status 200", retry=True)
    completion = decoded(body)
    if isinstance(completion, list) and len(completion) == 1:  # Gemini's errors
        completion = completion[0]
    if not isinstance(completion, dict):
        shown = mask(" ".join(body.decode("utf-8", "replace").split()))[:_SHOWN_CHARACTERS]
        if after_comments(body).startswith((b"{", b"data:")):
            raise FailedAttempt("server_error", f"the endpoint gave an incomplete body: {shown}", retry=True)
        raise FailedAttempt("refused", f"the answer is no chat completion: {shown}", retry=False)
    choices = completion.get("choices")
    listed = [one for one in choices if isinstance(one, dict)] if isinstance(choices, list) else []
    choice = min(listed, key=_index, default=None)
    error = provider_error(completion if choice is None else completion.get("error") or None)
    if error is not None:
        raise failure_of(None, error)
    if choice is None:
        if "choices" in completion:  # an empty list, or null: usually of a server that is overloaded
            raise failure_of(None, ProviderError("choices is null" if choices is None else "choices is empty"))
        raise FailedAttempt("refused", "the answer is no chat completion: it has no choices", retry=False)
    error = provider_error(choice.get("error") or None)
    if error is not None or finish_of(_finish_reason(choice)) == "error":
        raise failure_of(None, error or ProviderError(f"finish_reason {_finish_reason(choice)}, without a message"))
    message = _message_in(choice)
    if message is None:
        raise FailedAttempt("refused", "the answer is no chat completion: its choice has no message", retry=False)
    choice = {**choice, "message": message}
    usage = completion.get("usage")
    return choice, usage if isinstance(usage, dict) else {}


def _message_in(choice: Mapping[str, Any]) -> dict[str, Any] | None:
    """A choice's message; if the choice has an end, also a piece or a text in its place, or one without content."""
    if isinstance(choice.get("message"), dict):
        return dict(choice["message"])
    if _finish_reason(choice) is None:
        return None
    if isinstance(choice.get("delta"), dict):
        return dict(choice["delta"])
    return {"content": choice.get("text")}


def _index(choice: Mapping[str, Any]) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) else 0


def _finish_reason(choice: Mapping[str, Any]) -> str | None:
    """How a generation ended, as the endpoint or the provider behind it said."""
    said = _end(choice.get("finish_reason"))
    native = None
    if not _ANY_NATIVE_END.isdisjoint(choice):
        native = next(filter(None, (_end(choice.get(name)) for name in _NATIVE_ENDS)), None)
    if native is not None and (said is None or (finish_of(said) == "stop" and finish_of(native) != "stop")):
        said = native
    return None if said is None else storable(said[:_FINISH_CHARACTERS])


def _end(value: Any) -> str | None:
    if isinstance(value, dict):  # SGLang, and OpenAI's older `finish_details`
        value = next((value[key] for key in ("type", "reason") if isinstance(value.get(key), str)), None)
    return None if value is None or value == "" else str(value)


def _first_tokens(logprobs: Any) -> dict[str, float]:
    """Token → log-probability at the first position; tokens without a finite one are left out."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if isinstance(content, list):
        positions = [each for each in content if isinstance(each, dict)]
        first = next(filter(_is_visible, positions), positions[0] if positions else {})
        top = first.get("top_logprobs")
    else:  # of older servers, and Together: token → log-probability, position by position
        listed = logprobs.get("top_logprobs") if isinstance(logprobs, dict) else None
        top = listed[0] if isinstance(listed, list) and listed else None
    if isinstance(top, dict):
        top = [{"token": token, "logprob": logprob} for token, logprob in top.items()]
    found = {}
    for each in top if isinstance(top, list) else ():
        if isinstance(each, dict) and isinstance(each.get("token"), str):
            logprob = each.get("logprob")
            if isinstance(logprob, int | float) and not isinstance(logprob, bool) and abs(logprob) < _LARGEST_LOGPROB:
                found[each["token"]] = float(logprob)
    return found


def _is_visible(position: Mapping[str, Any]) -> bool:
    """Whether the token of a position is more than white space, which tokenizers sign as `▁`, `Ġ` and `Ċ`."""
    token = position.get("token")
    return isinstance(token, str) and bool(token.strip(" \t\r\n▁ĠĊ"))


def _prompt_cut(messages: tuple[Turn, ...], tokens_in: int | None, usage: Mapping[str, Any]) -> str | None:
    """How a prompt was cut, where the endpoint read clearly fewer tokens than the prompt has words."""
    characters = sum(len(turn.content) for turn in messages)
    if tokens_in is None or tokens_in < _SHORTEST_CONTEXT or tokens_in >= characters * _TOKENS_PER_WORD / 2:
        return None
    words = sum(len(_WORD.findall(turn.content)) for turn in messages)
    read_tokens = tokens_in + cached(usage)
    if read_tokens >= words * _TOKENS_PER_WORD:
        return None
    return f"the endpoint cut the prompt: it read {read_tokens:,} tokens of a prompt of {words:,} words"
