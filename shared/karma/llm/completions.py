"""Requests and responses of an OpenAI-compatible chat endpoint: bodies, completions, refusals.

An endpoint is untrusted: sizes, numbers and texts are limited to values that a database accepts.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import msgspec

from karma.messages import ModelSpec, Turn, with_system
from karma.messages.results import storable

if TYPE_CHECKING:
    import aiohttp

_RETRY_AFTER_MOST_S = 300.0  # a longer Retry-After is cut to it
_BODY_BYTES = 8 << 20
_FINISH_CHARACTERS = 40
_MOST_TOKENS = 2**31 - 1  # the largest integer of a database column


@dataclass(frozen=True)
class ChatRequest:
    """One call: a chat, a seed, and additional fields of the body."""

    messages: tuple[Turn, ...]
    seed: int
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ChatResult:
    """The result of one call: a text, or a failure with its reason.

    `kind` is the kind of the failure: `rate_limited`, `server_error`, `timeout`, `connection`, `refused`, `empty`,
    `missing_key`, `redirect` or `too_large`.
    """

    text: str | None = None
    failure: str | None = None
    kind: str | None = None
    finish_reason: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    latency_s: float | None = None  # of the whole call, retries and waits included
    first_tokens: Mapping[str, float] = field(default_factory=dict)  # token → log-probability, if requested


class FailedAttempt(Exception):  # noqa: N818 - it carries a result
    """One attempt failed. `retry`: another may succeed; `wait_s`: the delay that the endpoint requested."""

    def __init__(self, kind: str, reason: str, retry: bool, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.kind, self.reason, self.retry, self.wait_s = kind, reason, retry, wait_s


class _Logprob(msgspec.Struct):
    token: str
    logprob: float
    top_logprobs: list[_Logprob] | None = None


class _Logprobs(msgspec.Struct):
    content: list[_Logprob] | None = None


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | float | None = None
    completion_tokens: int | float | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None


class _ErrorDetail(msgspec.Struct):
    message: str


class _ErrorBody(msgspec.Struct):
    error: _ErrorDetail | str


_decoder = msgspec.json.Decoder(_Completion)


def body_of(spec: ModelSpec, request: ChatRequest) -> bytes:
    """The JSON of a call; the model's options and the request's fields override KARMA's own."""
    body = {
        "model": spec.model,
        "messages": with_system(request.messages, spec.system),
        "temperature": spec.temperature,
        "top_p": spec.top_p,
        "max_tokens": spec.max_tokens,
        "seed": request.seed & 0x7FFFFFFF,  # some servers keep seeds in 32 bits
        **spec.options,
        **request.extra,
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


def result_of(body: bytes) -> ChatResult:
    """The result in a body of status 200; raises FailedAttempt if it is no chat completion."""
    try:
        completion = _decoder.decode(body)
        choice = completion.choices[0]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, IndexError) as cause:
        raise FailedAttempt("refused", f"the answer is no chat completion: {cause}", retry=False) from cause
    usage = completion.usage or _Usage()
    text = choice.message.content
    empty = text is None or not text.strip()
    first = choice.logprobs.content[0].top_logprobs or [] if choice.logprobs and choice.logprobs.content else []
    return ChatResult(
        text=None if text is None or empty else storable(text),
        failure="empty answer" if empty else None,
        kind="empty" if empty else None,
        finish_reason=storable(choice.finish_reason[:_FINISH_CHARACTERS]) if choice.finish_reason else None,
        tokens_in=_count(usage.prompt_tokens),
        tokens_out=_count(usage.completion_tokens),
        first_tokens={each.token: each.logprob for each in first},
    )


def _count(tokens: float | None) -> int | None:
    """The number of tokens; None if the endpoint's number is invalid."""
    return int(tokens) if tokens is not None and 0 <= tokens <= _MOST_TOKENS else None


def refusal_of(status: int, headers: Mapping[str, str], body: bytes) -> FailedAttempt:
    """The failure of a status other than 200. Redirects are never followed: only configured endpoints are called."""
    if 300 <= status < 400:
        return FailedAttempt(
            "redirect", f"{status}: the endpoint redirects, and redirects are not followed", retry=False
        )
    if status == 429:
        return FailedAttempt("rate_limited", "429: rate limited", retry=True, wait_s=_retry_after(headers))
    if status >= 500:
        return FailedAttempt("server_error", f"{status}: server error", retry=True, wait_s=_retry_after(headers))
    return FailedAttempt("refused", f"{status}: {_error_message(body)}", retry=False)


def _error_message(body: bytes) -> str:
    """The error message in a body in OpenAI's format, or else the body itself."""
    try:
        error = msgspec.json.decode(body, type=_ErrorBody).error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return body.decode("utf-8", "replace")
    return error if isinstance(error, str) else error.message


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by a Retry-After header, which contains seconds or a date; None if it is invalid."""
    header = headers.get("Retry-After", "")
    try:
        wait_s = float(header)
    except ValueError:
        try:
            wait_s = parsedate_to_datetime(header).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return min(_RETRY_AFTER_MOST_S, max(0.0, wait_s))
