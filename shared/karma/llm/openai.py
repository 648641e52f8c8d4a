"""A client of OpenAI-compatible chat endpoints: vLLM, Ollama, llama.cpp, a provider.

One event loop in its own thread, with one aiohttp session, serves all worker threads of the process. A call costs about
0.25 ms of CPU. Only configured endpoints are called, and redirects are not followed.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

from msgspec.structs import replace

from karma import lease
from karma.errors import KarmaError
from karma.lease import Lease
from karma.limits.gate import Exchange, Gate, Outcome, unshared
from karma.limits.state import endpoint_of, settings_of
from karma.llm.backoff import Backoff, outcome_of
from karma.llm.call_metrics import observe_call
from karma.llm.completions import ChatRequest, ChatResult, body_of, read, result_of
from karma.llm.event_stream import in_one_piece
from karma.llm.key_masking import without_key
from karma.llm.limit_headers import used_up_s
from karma.llm.loop_thread import LoopThread
from karma.llm.refusals import FailedAttempt, refusal_of
from karma.llm.request_fields import Changes, Lessons, dropped, next_changes
from karma.llm.result_groups import Results, in_groups
from karma.llm.token_usage import NO_USAGE
from karma.messages import ModelSpec
from karma.messages.results import storable
from karma.telemetry import metrics

if TYPE_CHECKING:
    import aiohttp

#: Most time that a result waits for others, to be yielded together.
LINGER_S = 0.1

_BACKOFF_S = 0.5  # longest wait before the first retry; doubled with each further one
_SHOWN_CHARACTERS = 200
_CONNECT_S = 10.0
_MISSING_KEY_S = 10.0  # after which another worker gets a call that this one has no key for
_EXCHANGES = 4  # at once, with the limits that all workers share
_CHARACTERS_PER_TOKEN = 4  # expected of a prompt
_NAP_S = 1.0  # longest part of a wait; then the lease is asked again

log = logging.getLogger(__name__)


class ChatClient:
    """Calls endpoints for any number of threads. `client()` returns the one of this process.

    Args:
        exchange: with the limits that all workers share; by default each process has limits of its own.
    """

    def __init__(self, exchange: Exchange = unshared) -> None:
        self._exchange = exchange
        self._exchanges = ThreadPoolExecutor(_EXCHANGES, "limits")
        self._thread = LoopThread("chat")
        self._session: aiohttp.ClientSession | None = None
        self._gates: dict[str, Gate] = {}  # by endpoint
        self._lessons: dict[tuple[str, str], Lessons] = {}  # what endpoints accept, as learned from them
        self._closed = False
        self._starting = threading.Lock()  # no call starts on a loop that is being closed

    def complete(
        self, spec: ModelSpec, requests: Sequence[ChatRequest], linger_s: float = LINGER_S
    ) -> Generator[list[tuple[int, ChatResult]], None, None]:
        """Make the calls; yields groups of (index in `requests`, result) as they arrive.

        Calls begin within the limits of the endpoint (`karma.limits`); the first specification of an endpoint's model
        decides. A result waits at most `linger_s` for others. Leaving the iterator cancels pending calls. Calls begin
        only while the lease on the current batch is valid (`karma.lease`).

        Raises:
            ReleasedError: calls were not begun because the lease ended, or the client was closed during the calls.
            KarmaError: the client is closed.
        """
        arrivals = Results(len(requests), linger_s)
        with self._starting:
            if self._closed:
                raise KarmaError("the chat client is closed; make calls before the process ends")
            calls = self._all(spec, requests, arrivals, lease.current())
            future = asyncio.run_coroutine_threadsafe(calls, self._thread.loop)
        future.add_done_callback(lambda _done: arrivals.end())
        try:
            not_begun = f"calls to {spec.name} were not begun"
            yield from in_groups(arrivals, len(requests), "chat client", spec.name, not_begun)
        finally:
            future.cancel()

    def close(self) -> None:
        """Cancel pending calls, close the connections and end the thread; a second call does nothing."""
        with self._starting:
            if self._closed:
                return
            self._closed = True
        self._thread.close(self._end)

    async def _end(self) -> None:
        self._exchanges.shutdown(wait=False, cancel_futures=True)
        if self._session is not None:
            await self._session.close()

    async def _all(self, spec: ModelSpec, requests: Sequence[ChatRequest], arrivals: Results, lease_: Lease) -> None:
        endpoint = endpoint_of(spec)
        if endpoint not in self._gates:
            self._gates[endpoint] = Gate(endpoint, settings_of(spec), self._exchange, self._exchanges)
        gate = self._gates[endpoint]

        async def call(index: int, request: ChatRequest) -> None:
            result: ChatResult | None = None
            try:
                result = await self._ask(spec, request, gate, lease_)
            except Exception as cause:  # its text may contain a header, and so the key
                result = ChatResult(failure=f"the call cannot be made: {type(cause).__name__}", kind="refused")
            if result is not None:
                observe_call("openai", spec.model, result.latency_s, result.tokens_in, result.tokens_out, result.kind)
            arrivals.put(index, result)

        await asyncio.gather(*(call(index, request) for index, request in enumerate(requests)))

    async def _ask(self, spec: ModelSpec, request: ChatRequest, gate: Gate, lease_: Lease) -> ChatResult | None:
        """The result of a call; None if the lease forbids its first attempt or a retry."""
        key = os.environ.get(spec.api_key_env, "").strip() if spec.api_key_env else ""
        if spec.api_key_env and not key:
            return await self._without_key(spec, gate, lease_)
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        backoff = Backoff(spec, gate, _BACKOFF_S)
        started = time.monotonic()
        lessons = self._lessons.setdefault((spec.base_url or "", spec.model), Lessons())
        tried: dict[str, str | int | None] = {}  # learned by the process only if they help
        fitting: dict[str, str | int | None] = {}  # for this prompt only
        failed_usage = NO_USAGE  # of attempts that failed
        while True:
            entry = await gate.enter(lease_, _expected_tokens(spec, request), backoff.until)
            if entry == "stop":
                return None
            if entry == "down":
                failed = FailedAttempt(*gate.down, retry=False)
                break
            changes = {**lessons.changes(spec, request), **tried, **fitting}
            try:
                result = await self._reported(gate, spec, request, body_of(spec, request, changes), headers, key)
            except FailedAttempt as cause:
                metrics.ATTEMPTS.labels(spec.name, cause.kind).inc()
                failed_usage = failed_usage.plus(cause.usage)
                if further := next_changes(spec, request, changes, cause):
                    (fitting if cause.kind == "does_not_fit" else tried).update(further)
                    continue
                failed = cause
            else:
                metrics.ATTEMPTS.labels(spec.name, result.kind or "answered").inc()
                _learn(spec, request, lessons, tried)
                left_out = dropped(spec, request, changes)
                latency_s = time.monotonic() - started
                if failed_usage is NO_USAGE:
                    return replace(result, latency_s=latency_s, dropped=left_out)
                used = failed_usage.plus(result.usage)
                return replace(result, latency_s=latency_s, dropped=left_out, **used._asdict())
            wait_s = backoff.wait_s(failed)
            if wait_s is None:
                break
            with metrics.CALLS_BACKING_OFF.labels(spec.name, failed.kind).track_inprogress():
                await _wait(wait_s, lease_)
        reason = storable(" ".join(failed.reason.split()))
        reason = reason[:_SHOWN_CHARACTERS] + backoff.given_up(failed)
        latency_s = time.monotonic() - started
        return ChatResult(failure=reason, kind=failed.kind, latency_s=latency_s, **failed_usage._asdict())

    async def _reported(
        self, gate: Gate, spec: ModelSpec, request: ChatRequest, body: bytes, headers: Mapping[str, str], key: str
    ) -> ChatResult:
        """An attempt that entered the gate, and tells it what came of it."""
        outcome, begun = None, time.monotonic()
        metrics.CALL_LIMIT.labels(spec.name).set(gate.limit)
        try:
            with metrics.CALLS_IN_PROGRESS.labels(spec.name).track_inprogress():
                result, reset_s = await self._attempt(spec, request, body, headers, key)
            tokens = (result.tokens_in or 0) + (result.tokens_out or 0)
            outcome = Outcome("answered", time.monotonic() - begun, tokens or None, reset_s)
        except FailedAttempt as cause:
            outcome = outcome_of(cause)
            raise
        finally:
            if outcome is None:
                gate.cancel()
            else:
                gate.leave(outcome)
        return result

    async def _without_key(self, spec: ModelSpec, gate: Gate, lease_: Lease) -> ChatResult | None:
        """The result of a call that cannot be made here: a failure, or None where other workers may have the key."""
        reason = f"the environment variable {spec.api_key_env} (api_key_env of {spec.name}) is not set here"
        if not gate.shared or spec.max_retries == 0:
            return ChatResult(failure=reason, kind="missing_key")
        gate.note(Outcome("failed", for_good=True, kind="missing_key", reason=reason))
        await _wait(_MISSING_KEY_S, lease_)
        return None

    async def _attempt(
        self, spec: ModelSpec, request: ChatRequest, body: bytes, headers: Mapping[str, str], key: str
    ) -> tuple[ChatResult, float]:
        """The result, and the seconds until the limit is reset of which the endpoint says that nothing is left."""
        import aiohttp

        if self._session is None:
            # No cookies: one endpoint must not read those of another.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60), cookie_jar=aiohttp.DummyCookieJar()
            )
        timeout = aiohttp.ClientTimeout(total=spec.timeout_s, sock_connect=min(_CONNECT_S, spec.timeout_s))
        base, query, options = (spec.base_url or "").partition("?")
        url = f"{base.rstrip('/')}/chat/completions{query}{options}"
        try:
            async with self._session.post(
                url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                said = without_key(in_one_piece(await read(response)), key)
                if 200 <= response.status < 300:  # some proxies say 201
                    return result_of(said, spec, request), used_up_s(response.headers)
                raise refusal_of(response.status, response.headers, said)
        except aiohttp.ConnectionTimeoutError as cause:
            raise FailedAttempt("timeout", f"no connection within {timeout.sock_connect:g} s", retry=True) from cause
        except TimeoutError as cause:
            raise FailedAttempt("timeout", f"timed out after {spec.timeout_s:g} s", retry=True) from cause
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as cause:
            raise FailedAttempt("refused", f"base_url of {spec.name} is no URL of an endpoint", retry=False) from cause
        except (aiohttp.ClientError, OSError) as cause:
            raise FailedAttempt("connection", f"connection dropped: {type(cause).__name__}", retry=True) from cause


def _expected_tokens(spec: ModelSpec, request: ChatRequest) -> int:
    """Tokens of a call of which nothing is known yet."""
    characters = sum(len(turn.content) for turn in request.messages)
    return characters // _CHARACTERS_PER_TOKEN + (0 if spec.max_tokens == "default" else spec.max_tokens)


async def _wait(wait_s: float, lease_: Lease) -> None:
    """Wait, or until the lease ended: a wait of minutes must not hold up a shutdown."""
    until = time.monotonic() + wait_s
    while (left_s := until - time.monotonic()) > 0 and lease_() != "stop":
        await asyncio.sleep(min(_NAP_S, left_s))


def _learn(spec: ModelSpec, request: ChatRequest, lessons: Lessons, tried: Changes) -> None:
    """Keep the changes of a call that was answered, and say each once."""
    for field, change in lessons.keep(spec, request, tried).items():
        form = "left out" if change is None else f"sent as {change}"
        log.warning("the endpoint of %s refuses %s: it is %s from now on", spec.name, field, form)


_client_lock = threading.Lock()
_exchange: Exchange = unshared


def share_limits(exchange: Exchange) -> None:
    """Share the limits of endpoints with other processes. To be called before the first call."""
    global _exchange  # noqa: PLW0603 - one per process, as the client itself
    _exchange = exchange


def client() -> ChatClient:
    """The client of this process, which is closed at exit."""
    with _client_lock:  # two clients would double the limit of concurrent calls
        return _client()


@cache
def _client() -> ChatClient:
    chat_client = ChatClient(_exchange)
    atexit.register(chat_client.close)
    return chat_client
