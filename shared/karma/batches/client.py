"""Requests of any number of work batches, as calls through jobs; one event loop follows the jobs of all models."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Generator, Sequence
from functools import cache
from typing import Any

from karma import lease
from karma.batches.jobs import Call, Lane, custom_id
from karma.batches.provider import Provider
from karma.errors import KarmaError, ReleasedError
from karma.llm import openai
from karma.llm.completions import ChatRequest, ChatResult
from karma.llm.result_groups import Results, next_group
from karma.messages import ModelSpec

_LINGER_S = 0.1
_CLOSE_S = 10.0


def complete(spec: ModelSpec, requests: Sequence[ChatRequest]) -> Generator[list[tuple[int, ChatResult]], None, None]:
    """Make the calls of a model, one by one or, for `batch = true`, through jobs; as `ChatClient.complete`."""
    return batch_client().complete(spec, requests) if spec.batch else openai.client().complete(spec, requests)


class BatchClient:
    """Makes calls through jobs for any number of threads. `batch_client()` returns the one of this process."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="batches", daemon=True)
        self._thread.start()
        self._session: Any = None
        self._lanes: dict[tuple[str, str, str], Lane] = {}
        self._waiting: set[Results] = set()
        self._starting = threading.Lock()
        self._closed = False

    def complete(
        self, spec: ModelSpec, requests: Sequence[ChatRequest]
    ) -> Generator[list[tuple[int, ChatResult]], None, None]:
        """Make the calls; yields groups of (index in `requests`, result) as jobs end.

        Raises:
            ReleasedError: the lease ended first; the requests stay in their jobs, where they are found again.
            KarmaError: the client is closed.
        """
        arrivals, of_batch = Results(), lease.current()
        calls = [
            Call(custom_id(spec, request), index, request, of_batch, arrivals) for index, request in enumerate(requests)
        ]
        with self._starting:
            if self._closed:
                raise KarmaError("the batch client is closed; make calls before the process ends")
            self._waiting.add(arrivals)
            self._loop.call_soon_threadsafe(self._add, spec, calls)
        left, begun = len(calls), True
        try:
            while left:
                group = next_group(arrivals, left, _LINGER_S)
                if not group:
                    raise ReleasedError(f"the batch client was closed with {left} calls to {spec.name} under way")
                left -= len(group)
                results = [(index, result) for index, result in group if result is not None]
                begun = begun and len(results) == len(group)
                if results:
                    yield results
        finally:
            self._waiting.discard(arrivals)
        if not begun:
            raise ReleasedError(f"batch jobs of {spec.name} are left to another worker")

    def _add(self, spec: ModelSpec, calls: list[Call]) -> None:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        key = spec.base_url or "", spec.name, spec.model
        if key not in self._lanes:
            self._lanes[key] = Lane(spec, Provider(spec, self._session))
        self._lanes[key].add(calls)

    def close(self) -> None:
        """End the thread; jobs go on at the provider."""
        with self._starting:
            if self._closed:
                return
            self._closed = True
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(_CLOSE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_S)
        self._loop.close()

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for arrivals in list(self._waiting):
            arrivals.put(None)
        if self._session is not None:
            await self._session.close()


_lock = threading.Lock()


def batch_client() -> BatchClient:
    """The client of this process, which is closed at exit."""
    with _lock:
        return _batch_client()


@cache
def _batch_client() -> BatchClient:
    made = BatchClient()
    atexit.register(made.close)
    return made
