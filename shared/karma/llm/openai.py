"""How to ask an OpenAI-compatible chat endpoint: vLLM, Ollama, llama.cpp, a provider.

One event loop in a thread of its own serves all worker threads of the process, with one aiohttp session: a call costs
about a quarter of a millisecond of CPU. Endpoints come from the configuration only, and redirects are not followed.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import queue
import random
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from karma import lease
from karma.batch_results import storable
from karma.errors import KarmaError, ReleasedError
from karma.lease import Lease
from karma.llm.call_metrics import observe_call
from karma.llm.completions import ChatRequest, ChatResult, FailedAttempt, body_of, read, refusal_of, result_of
from karma.messages import ModelSpec
from karma.telemetry import metrics

if TYPE_CHECKING:
    import aiohttp

#: Where the results of one `complete` come in; None in the place of a result: the call was not begun. None alone says
#: that no more will come.
Arrived = queue.SimpleQueue[tuple[int, ChatResult | None] | None]

#: Results that are there wait at most this long for others before they are handed on.
LINGER_S = 0.1

_BACKOFF_S = 0.5  # before the first retry, on average half of it; doubled with each further one
_BACKOFF_MOST_S = 30.0
_SHOWN_CHARACTERS = 200
_CONNECT_S = 10.0
_ASK_AGAIN_S = 0.1  # whether the lease stands, where that cannot be known now
_SPREAD = 0.2  # share of the backoff that is added to what Retry-After asks


class ChatClient:
    """Asks endpoints from any number of threads. `client()` gives the one of this process."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chat", daemon=True)
        self._thread.start()
        self._session: aiohttp.ClientSession | None = None
        self._limits: dict[tuple[str, str], asyncio.Semaphore] = {}
        self._closed = False
        self._starting = threading.Lock()  # nothing is started on a loop that is being closed

    def complete(
        self, spec: ModelSpec, requests: Sequence[ChatRequest], linger_s: float = LINGER_S
    ) -> Generator[list[tuple[int, ChatResult]], None, None]:
        """Make the calls; yields groups of (place in `requests`, result) as they come.

        At most `spec.concurrency` calls to one endpoint's model are under way at once over all threads; the first
        specification of that model decides. A result waits at most `linger_s` for others. Leaving the iterator
        cancels what is under way. Calls are begun only while the lease on the batch in hand stands (`karma.lease`).

        Raises:
            ReleasedError: calls were not begun, as the lease ended, or the client was closed meanwhile.
            KarmaError: the client is closed.
        """
        arrived: Arrived = queue.SimpleQueue()
        with self._starting:
            if self._closed:
                raise KarmaError("the chat client is closed; make calls before the process ends")
            calls = self._all(spec, requests, arrived, lease.current())
            future = asyncio.run_coroutine_threadsafe(calls, self._loop)
        future.add_done_callback(lambda _done: arrived.put(None))
        left, begun = len(requests), True
        try:
            while left:
                group = _next_group(arrived, left, linger_s)
                if not group:
                    raise ReleasedError(f"the chat client was closed with {left} calls to {spec.name} under way")
                left -= len(group)
                results = [(place, result) for place, result in group if result is not None]
                begun = begun and len(results) == len(group)
                if results:
                    yield results
        finally:
            future.cancel()
        if not begun:
            raise ReleasedError(f"calls to {spec.name} were not begun")

    def close(self) -> None:
        """Cancel calls under way, close the connections and end the thread; a second time does nothing."""
        with self._starting:
            if self._closed:
                return
            self._closed = True
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(_CONNECT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CONNECT_S)
        self._loop.close()

    async def _end(self) -> None:
        """Cancel all that runs on the loop, so that no thread waits for it in vain."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _all(self, spec: ModelSpec, requests: Sequence[ChatRequest], arrived: Arrived, standing: Lease) -> None:
        named = (spec.base_url or "", spec.model)
        if named not in self._limits:
            self._limits[named] = asyncio.Semaphore(max(1, spec.concurrency))
            metrics.CALL_LIMIT.labels(spec.name).set(max(1, spec.concurrency))
        limit = self._limits[named]

        async def one(place: int, request: ChatRequest) -> None:
            result: ChatResult | None = None
            async with limit:
                under_way = metrics.CALLS_IN_PROGRESS.labels(spec.name)
                under_way.inc()
                try:
                    result = await self._ask(spec, request, standing)
                except Exception as cause:  # its text may hold a header, and so the key
                    result = ChatResult(failure=f"the call cannot be made: {type(cause).__name__}", kind="refused")
                finally:
                    under_way.dec()
            if result is not None:
                observe_call("openai", spec.model, result.latency_s, result.tokens_in, result.tokens_out, result.kind)
            arrived.put((place, result))

        await asyncio.gather(*(one(place, request) for place, request in enumerate(requests)))

    async def _ask(self, spec: ModelSpec, request: ChatRequest, standing: Lease) -> ChatResult | None:
        """The result of a call; None where none may be begun, or begun again, under the lease."""
        key = os.environ.get(spec.api_key_env, "").strip() if spec.api_key_env else ""
        if spec.api_key_env and not key:
            reason = f"the environment variable {spec.api_key_env} (api_key_env of {spec.name}) is not set here"
            return ChatResult(failure=reason, kind="missing_key")
        body = body_of(spec, request)
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        started = time.monotonic()
        failed = FailedAttempt("connection", "not tried", again=True)
        for attempt in range(spec.max_retries + 1):
            if not await _may_begin(standing):
                return None
            try:
                result = await self._attempt(spec, body, headers)
            except FailedAttempt as cause:
                failed = cause
                metrics.ATTEMPTS.labels(spec.name, cause.kind).inc()
                if not cause.again or attempt == spec.max_retries:
                    break
                # Full jitter (Brooker 2015): many workers that failed together do not come back together.
                wait_s = random.uniform(0, min(_BACKOFF_MOST_S, _BACKOFF_S * 2**attempt))  # noqa: S311
                with metrics.CALLS_BACKING_OFF.labels(spec.name, cause.kind).track_inprogress():
                    await asyncio.sleep(wait_s if cause.wait_s is None else cause.wait_s + wait_s * _SPREAD)
            else:
                metrics.ATTEMPTS.labels(spec.name, result.kind or "answered").inc()
                return replace(result, latency_s=time.monotonic() - started)
        # The key goes first: cutting could leave a part of it that is no longer found.
        reason = storable(" ".join((failed.reason.replace(key, "***") if key else failed.reason).split()))
        reason = reason[:_SHOWN_CHARACTERS] + (f" after {spec.max_retries} retries" if failed.again else "")
        return ChatResult(failure=reason, kind=failed.kind, latency_s=time.monotonic() - started)

    async def _attempt(self, spec: ModelSpec, body: bytes, headers: Mapping[str, str]) -> ChatResult:
        import aiohttp

        if self._session is None:
            # No cookies: what one endpoint sets is none of another's business.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60), cookie_jar=aiohttp.DummyCookieJar()
            )
        timeout = aiohttp.ClientTimeout(total=spec.timeout_s, sock_connect=min(_CONNECT_S, spec.timeout_s))
        url = f"{(spec.base_url or '').rstrip('/')}/chat/completions"
        try:
            async with self._session.post(
                url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                if response.status == 200:
                    return result_of(await read(response))
                raise refusal_of(response.status, response.headers, await read(response))
        except aiohttp.ConnectionTimeoutError as cause:
            raise FailedAttempt("timeout", f"no connection within {timeout.sock_connect:g} s", again=True) from cause
        except TimeoutError as cause:
            raise FailedAttempt("timeout", f"timed out after {spec.timeout_s:g} s", again=True) from cause
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as cause:
            raise FailedAttempt("refused", f"base_url of {spec.name} is no URL of an endpoint", again=False) from cause
        except (aiohttp.ClientError, OSError) as cause:
            raise FailedAttempt("connection", f"connection dropped: {type(cause).__name__}", again=True) from cause


async def _may_begin(standing: Lease) -> bool:
    while (answer := standing()) == "wait":
        await asyncio.sleep(_ASK_AGAIN_S)
    return answer == "go"


def _next_group(arrived: Arrived, most: int, linger_s: float) -> list[tuple[int, ChatResult | None]]:
    """The results that are there once the first has waited `linger_s`, or `most` are; none where no more will come."""
    first = arrived.get()
    if first is None:
        return []
    group = [first]
    until = time.monotonic() + linger_s
    while len(group) < most:
        try:
            one = arrived.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            break
        if one is None:
            arrived.put(None)  # for the next group
            break
        group.append(one)
    return group


_one_at_a_time = threading.Lock()


def client() -> ChatClient:
    """The client of this process; it is closed at exit."""
    with _one_at_a_time:  # two clients would make twice the calls that a model allows at once
        return _client()


@cache
def _client() -> ChatClient:
    found = ChatClient()
    atexit.register(found.close)
    return found
