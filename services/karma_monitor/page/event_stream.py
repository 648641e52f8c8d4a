"""The live status for all viewers: read once a second for any number of them, and not at all without one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from fastapi.sse import ServerSentEvent

from karma.errors import OutageError

log = logging.getLogger(__name__)

EVERY_S = 1.0

#: Streams at once, and of one client. Each holds a connection.
MOST_STREAMS = 128
MOST_OF_A_CLIENT = 32


class Live:
    """Reads the status while there are viewers, and sends it to all of them."""

    def __init__(self, look: Callable[[], dict[str, Any]], every_s: float = EVERY_S) -> None:
        self._look = look
        self._every_s = every_s
        self._watching: Counter[str] = Counter()  # streams by client
        self._task: asyncio.Task[None] | None = None
        self._next: asyncio.Future[ServerSentEvent | None] | None = None
        self._newest: ServerSentEvent | None = None
        self.looks = 0  # that returned a status
        self._loop: asyncio.AbstractEventLoop | None = None
        self.closed = False

    @property
    def is_looking(self) -> bool:
        """Whether there is a viewer, or was a moment ago."""
        return self._task is not None and not self._task.done()

    def has_place(self, client: str) -> bool:
        """Whether another stream may be opened by a client."""
        return self._watching.total() < MOST_STREAMS and self._watching[client] < MOST_OF_A_CLIENT

    async def watch(self, client: str = "") -> AsyncIterator[ServerSentEvent]:
        """The newest status, if there are viewers already, and every later one, until the page closes."""
        self._loop = asyncio.get_running_loop()
        self._watching[client] += 1
        newest = self._newest if self.is_looking else None
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        try:
            if newest is not None:
                yield newest
            while not self.closed:
                event = await asyncio.shield(self._upcoming())
                if event is None:
                    return
                yield event
        finally:
            self._watching -= Counter({client: 1})  # those without a stream are left out

    def close(self) -> None:
        """End every stream. May be called from a signal handler or another thread."""
        self.closed = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._send, None)

    def _upcoming(self) -> asyncio.Future[ServerSentEvent | None]:
        if self._next is None or self._next.done():
            self._next = asyncio.get_running_loop().create_future()
        return self._next

    def _send(self, event: ServerSentEvent | None) -> None:
        if self._next is not None and not self._next.done():
            self._next.set_result(event)

    async def _run(self) -> None:
        was_unavailable = False
        while self._watching.total() and not self.closed:
            started = time.monotonic()
            try:
                status = await asyncio.to_thread(self._look)
            except OutageError as cause:
                if not was_unavailable:
                    log.warning("the live status waits for the store: %s", cause)
                was_unavailable = True
            except Exception:
                log.exception("the live status could not be read; retrying")
            else:
                was_unavailable = False
                self.looks += 1
                text = msgspec.json.encode(status).decode()
                self._newest = ServerSentEvent(raw_data=text, event="live", id=str(self.looks))
                self._send(self._newest)
            await asyncio.sleep(max(0.05, self._every_s - (time.monotonic() - started)))
