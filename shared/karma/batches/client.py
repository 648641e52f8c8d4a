"""Requests of any number of work batches, as calls through jobs; one event loop follows the jobs of all models."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Generator, Sequence
from functools import cache
from typing import Any

from karma import lease
from karma.batches.jobs import Call, Lane, custom_id
from karma.batches.provider import Provider
from karma.errors import KarmaError
from karma.llm import openai
from karma.llm.completions import ChatRequest, ChatResult
from karma.llm.loop_thread import LoopThread
from karma.llm.result_groups import Results, in_groups
from karma.messages import ModelSpec

_LINGER_S = 0.1


def complete(spec: ModelSpec, requests: Sequence[ChatRequest]) -> Generator[list[tuple[int, ChatResult]], None, None]:
    """Make the calls of a model, one by one or, for `batch = true`, through jobs; as `ChatClient.complete`."""
    return batch_client().complete(spec, requests) if spec.batch else openai.client().complete(spec, requests)


class BatchClient:
    """Makes calls through jobs for any number of threads. `batch_client()` returns the one of this process."""

    def __init__(self) -> None:
        self._thread = LoopThread("batches")
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
        arrivals, of_batch = Results(len(requests), _LINGER_S), lease.current()
        calls = [
            Call(custom_id(spec, request), index, request, of_batch, arrivals) for index, request in enumerate(requests)
        ]
        with self._starting:
            if self._closed:
                raise KarmaError("the batch client is closed; make calls before the process ends")
            self._waiting.add(arrivals)
            self._thread.loop.call_soon_threadsafe(self._add, spec, calls)
        try:
            not_begun = f"batch jobs of {spec.name} are left to another worker"
            yield from in_groups(arrivals, len(calls), "batch client", spec.name, not_begun)
        finally:
            self._waiting.discard(arrivals)

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
        self._thread.close(self._end)

    async def _end(self) -> None:
        for arrivals in list(self._waiting):
            arrivals.end()
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
