"""How to ask an OpenAI-compatible chat endpoint: vLLM, Ollama, llama.cpp, a provider.

One event loop in a thread of its own serves all worker threads of the process, with one aiohttp session: a call costs
about a quarter of a millisecond of CPU. Endpoints come from the configuration only, and redirects are not followed.
"""

from __future__ import annotations

import asyncio
import os
import queue
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from karma.messages import ModelSpec, Turn

if TYPE_CHECKING:
    import aiohttp

#: Results that are there wait at most this long for others before they are handed on.
LINGER_S = 0.1

_BACKOFF_S = 0.5  # before the first retry, on average half of it; doubled with each further one
_BACKOFF_MOST_S = 30.0
_BODY_BYTES = 8 << 20
_SHOWN_CHARACTERS = 200
_CONNECT_S = 10.0


@dataclass(frozen=True)
class ChatRequest:
    """One call: a chat, a seed, and further fields of the body."""

    messages: tuple[Turn, ...]
    seed: int
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ChatResult:
    """What came of one call: a text, or a failure with its reason. `kind` is a short label of the failure."""

    text: str | None = None
    failure: str | None = None
    kind: str | None = None
    finish_reason: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    latency_s: float | None = None
    first_tokens: Mapping[str, float] = field(default_factory=dict)  # token → log-probability, where asked for


class _Failed(Exception):  # noqa: N818 - carries a result, is no error of the program
    """One attempt failed; `wait_s` is what the endpoint asked to wait."""

    def __init__(self, kind: str, reason: str, again: bool, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.kind, self.reason, self.again, self.wait_s = kind, reason, again, wait_s


class _Logprob(msgspec.Struct):
    token: str
    logprob: float
    top_logprobs: list[_Logprob] = []


class _Logprobs(msgspec.Struct):
    content: list[_Logprob] | None = None


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None


_decoder = msgspec.json.Decoder(_Completion)


class ChatClient:
    """Asks endpoints from any number of threads."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="chat", daemon=True).start()
        self._session: aiohttp.ClientSession | None = None
        self._limits: dict[tuple[str, str], asyncio.Semaphore] = {}

    def complete(
        self, spec: ModelSpec, requests: Sequence[ChatRequest], linger_s: float = LINGER_S
    ) -> Iterator[list[tuple[int, ChatResult]]]:
        """Make the calls, at most `spec.concurrency` at once over all threads; yields (place, result) as they come."""
        arrived: queue.SimpleQueue[tuple[int, ChatResult]] = queue.SimpleQueue()
        future = asyncio.run_coroutine_threadsafe(self._all(spec, requests, arrived), self._loop)
        left = len(requests)
        try:
            while left:
                group = [arrived.get()]
                until = time.monotonic() + linger_s
                while len(group) < left:
                    try:
                        group.append(arrived.get(timeout=max(0.0, until - time.monotonic())))
                    except queue.Empty:
                        break
                left -= len(group)
                yield group
        finally:
            future.cancel()

    async def _all(self, spec: ModelSpec, requests: Sequence[ChatRequest], arrived: Any) -> None:
        limit = self._limits.setdefault((spec.base_url or "", spec.model), asyncio.Semaphore(spec.concurrency))

        async def one(place: int, request: ChatRequest) -> None:
            async with limit:
                try:
                    result = await self._ask(spec, request)
                except Exception as cause:
                    result = ChatResult(failure=f"the call failed: {type(cause).__name__}", kind="connection")
            arrived.put((place, result))

        await asyncio.gather(*(one(place, request) for place, request in enumerate(requests)))

    async def _ask(self, spec: ModelSpec, request: ChatRequest) -> ChatResult:
        key = os.environ.get(spec.api_key_env) if spec.api_key_env else None
        if spec.api_key_env and not key:
            reason = f"the environment variable {spec.api_key_env} (api_key_env of {spec.name}) is not set in this worker"
            return ChatResult(failure=reason, kind="missing_key")
        body = msgspec.json.encode(_body(spec, request))
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        started = time.monotonic()
        failed = _Failed("connection", "not tried", again=True)
        for attempt in range(spec.max_retries + 1):
            try:
                result = await self._attempt(spec, body, headers)
            except _Failed as cause:
                failed = cause
                if not cause.again or attempt == spec.max_retries:
                    break
                # Full jitter (Brooker 2015): many workers that failed together do not come back together.
                most = min(_BACKOFF_MOST_S, _BACKOFF_S * 2**attempt)
                await asyncio.sleep(cause.wait_s if cause.wait_s is not None else random.uniform(0, most))  # noqa: S311
            else:
                return replace(result, latency_s=time.monotonic() - started)
        reason = failed.reason if not failed.again else f"{failed.reason}, after {spec.max_retries} retries"
        return ChatResult(failure=_without(reason, key), kind=failed.kind, latency_s=time.monotonic() - started)

    async def _attempt(self, spec: ModelSpec, body: bytes, headers: Mapping[str, str]) -> ChatResult:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60), auto_decompress=True
            )
        timeout = aiohttp.ClientTimeout(total=spec.timeout_s, sock_connect=min(_CONNECT_S, spec.timeout_s))
        url = f"{(spec.base_url or '').rstrip('/')}/chat/completions"
        try:
            async with self._session.post(
                url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                if response.status == 200:
                    return _result(await _read(response))
                raise _refusal(response.status, response.headers, await _read(response))
        except TimeoutError as cause:
            raise _Failed("timeout", f"timed out after {spec.timeout_s:g} s", again=True) from cause
        except aiohttp.ClientError as cause:
            raise _Failed("connection", f"connection dropped: {type(cause).__name__}", again=True) from cause


@cache
def client() -> ChatClient:
    """The client of this process."""
    return ChatClient()


def _body(spec: ModelSpec, request: ChatRequest) -> dict[str, Any]:
    turns = list(request.messages)
    if spec.system is not None and all(turn.role != "system" for turn in turns):
        turns.insert(0, Turn("system", spec.system))
    return {
        "model": spec.model,
        "messages": turns,
        "temperature": spec.temperature,
        "top_p": spec.top_p,
        "max_tokens": spec.max_tokens,
        "seed": request.seed & 0x7FFFFFFF,  # some servers keep seeds in 32 bits
        **spec.options,
        **request.extra,
    }


async def _read(response: aiohttp.ClientResponse) -> bytes:
    parts = bytearray()
    async for part in response.content.iter_any():
        parts += part
        if len(parts) > _BODY_BYTES:
            raise _Failed("too_large", f"the answer is larger than {_BODY_BYTES >> 20} MiB", again=False)
    return bytes(parts)


def _result(body: bytes) -> ChatResult:
    try:
        completion = _decoder.decode(body)
        choice = completion.choices[0]
    except (msgspec.DecodeError, msgspec.ValidationError, IndexError) as cause:
        raise _Failed("refused", f"the answer is no chat completion: {str(cause)[:_SHOWN_CHARACTERS]}", again=False) from cause
    usage = completion.usage or _Usage()
    text = choice.message.content
    if text is None or not text.strip():
        return ChatResult(
            failure="empty answer",
            kind="empty",
            finish_reason=choice.finish_reason,
            tokens_in=usage.prompt_tokens,
            tokens_out=usage.completion_tokens,
        )
    first = choice.logprobs.content[0].top_logprobs if choice.logprobs and choice.logprobs.content else []
    return ChatResult(
        text=text.replace("\x00", "\ufffd"),  # no database keeps NUL
        finish_reason=choice.finish_reason,
        tokens_in=usage.prompt_tokens,
        tokens_out=usage.completion_tokens,
        first_tokens={one.token: one.logprob for one in first},
    )


def _refusal(status: int, headers: Mapping[str, str], body: bytes) -> _Failed:
    if 300 <= status < 400:
        return _Failed("redirect", f"{status}: the endpoint redirects, and redirects are not followed", again=False)
    if status == 429:
        return _Failed("rate_limited", "429: rate limited", again=True, wait_s=_retry_after(headers))
    if status >= 500:
        return _Failed("server_error", f"{status}: server error", again=True, wait_s=_retry_after(headers))
    said = body[:_SHOWN_CHARACTERS].decode("utf-8", "replace")
    return _Failed("refused", f"{status}: {said}", again=False)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header; a date or nonsense is left to the backoff."""
    try:
        return min(_BACKOFF_MOST_S, max(0.0, float(headers["Retry-After"])))
    except (KeyError, ValueError):
        return None


def _without(reason: str, key: str | None) -> str:
    """A reason without the key, should an endpoint repeat it."""
    return reason.replace(key, "***") if key else reason
