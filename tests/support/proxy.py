"""A TCP proxy that a test can make slow, deaf or faithless, as networks are."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

_T = TypeVar("_T")


class Proxy:
    """Listens on 127.0.0.1 and passes on to a port there. All switches may be turned from any thread."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._writers: set[asyncio.StreamWriter] = set()
        self._forgotten: set[asyncio.StreamWriter] = set()
        self.delay_s = 0.0  # each piece of data waits so long
        self.deaf = False  # half-open: connections stay, and nothing passes
        self.closed = False  # new connections are refused as soon as they are made
        self.losing: bytes | None = None  # the reply to what holds these bytes is lost, with its connection
        self.lost = 0
        self._server = self._call(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = int(self._server.sockets[0].getsockname()[1])

    def reset(self) -> int:
        """Cut every connection; returns how many."""

        async def cut() -> int:
            writers = list(self._writers)
            for writer in writers:
                writer.transport.abort()
            return len(writers) // 2

        return self._call(cut())

    def forget(self) -> None:
        """Everything under way is never heard of again: both ends stay connected to nobody."""

        async def drop() -> None:
            self._forgotten |= self._writers

        self._call(drop())

    def stop(self) -> None:

        async def end() -> None:
            self._server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for other in others:
                other.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        self._call(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _call(self, what: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.closed:
            writer.transport.abort()
            return
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, up_writer}
        self._writers |= pair
        doomed = asyncio.Event()

        def request(data: bytes) -> bool:
            if self.losing is not None and self.losing in data:
                doomed.set()
            return True

        def reply(_data: bytes) -> bool:
            if not doomed.is_set():
                return True
            self.lost += 1
            return False

        with suppress(asyncio.CancelledError):
            await asyncio.gather(self._pump(reader, up_writer, request), self._pump(up_reader, writer, reply))
        self._writers -= pair
        self._forgotten -= pair
        for one in pair:
            one.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passes: Callable[[bytes], bool]
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                while self.deaf or writer in self._forgotten:
                    await asyncio.sleep(0.05)
                if not passes(data):
                    break
                writer.write(data)
                await writer.drain()
        writer.transport.abort()  # one side ended: so does the other


@contextmanager
def proxied(port: int) -> Iterator[Proxy]:
    """A proxy for a port on this machine."""
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.stop()
