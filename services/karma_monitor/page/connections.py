"""Limits on connections: nobody keeps others out by holding them open, sending slowly, or asking too often.

uvicorn limits neither the time that a request's head takes, nor what it reads of a body that nobody wants; its one
limit of connections refuses everybody as soon as idle ones fill it. Here, at the limit, the connection that has waited
longest for its client is closed, of the client that has the most.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

#: Connections at once.
CONNECTIONS = 256

#: Time for the head of a request, from the connection's begin or the answer before it.
HEAD_S = 10.0

#: Requests of one client, over all its connections: on average, and at once.
RATE_PER_S = 30.0
BURST = 300.0

#: What is still read of a body that nobody wants, so that its sender sees the answer.
_LINGER_S = 1.0
_LINGER_BYTES = 1 << 18
_MOST_CLIENTS = 4096


class Limits:
    """The connections of a page, and how often its clients ask."""

    def __init__(self, connections: int = CONNECTIONS, head_s: float = HEAD_S, rate_per_s: float = RATE_PER_S) -> None:
        self.head_s = head_s
        self._most = connections
        self._rate_per_s = rate_per_s
        self._burst = BURST * rate_per_s / RATE_PER_S
        self._open: dict[Limited, None] = {}  # those that began to wait first come first
        self._buckets: dict[str, tuple[float, float]] = {}  # client → requests that it may make, and when that was so

    def protocol(self) -> Callable[..., Limited]:
        """What uvicorn makes of a connection."""

        def made(*arguments: Any, **options: Any) -> Limited:
            return Limited(self, *arguments, **options)

        return made

    def opened(self, connection: Limited) -> None:
        """A new connection; it takes the place of another one at the limit."""
        if len(self._open) >= self._most:
            waiting = [each for each in self._open if not each.is_answering]
            held = Counter(each.peer for each in waiting)
            victim = max(waiting, key=lambda each: held[each.peer], default=connection)  # of equals, the first
            victim.end()
            self._open.pop(victim, None)
            if victim is connection:
                return
        self._open[connection] = None

    def waits(self, connection: Limited) -> None:
        """A connection was answered, and waits for its client again."""
        if connection in self._open:
            self._open[connection] = self._open.pop(connection)

    def closed(self, connection: Limited) -> None:
        """A connection ended."""
        self._open.pop(connection, None)

    def wait_s(self, peer: str) -> float:
        """Seconds until a client may ask; 0 if it may now, and then it has asked (a token bucket)."""
        now = time.monotonic()
        left, since = self._buckets.pop(peer, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate_per_s)
        asks = left >= 1.0
        self._buckets[peer] = (left - 1.0 if asks else left, now)
        if len(self._buckets) > _MOST_CLIENTS:
            del self._buckets[next(iter(self._buckets))]  # whoever has not asked for the longest time
        return 0.0 if asks else (1.0 - left) / self._rate_per_s


class Limited(H11Protocol):
    """One connection under limits."""

    def __init__(self, limits: Limits, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._limits = limits
        self._deadline: asyncio.TimerHandle | None = None
        self._unread = -1  # bytes that came after an answer whose request's body nobody wants
        self.peer = ""

    @property
    def is_answering(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def end(self) -> None:
        """Close the connection."""
        self.timeout_keep_alive_handler()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connected."""
        super().connection_made(transport)
        self.peer = str(transport.get_extra_info("peername", ("",))[0])
        self._expect_head()
        self._limits.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection ended."""
        self._cancel()
        self._limits.closed(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A part of a request."""
        if self.transport.is_closing():
            return
        if self._unread >= 0:
            self._unread += len(data)
            if self._unread > _LINGER_BYTES:
                self.transport.close()
            return
        super().data_received(data)
        if self.is_answering:
            self._cancel()

    def on_response_complete(self) -> None:
        """A request was answered; what is left of its body is not worth a connection."""
        body_is_left = self.conn.their_state is h11.SEND_BODY
        super().on_response_complete()
        if body_is_left and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self._unread = 0
            if self.transport.can_write_eof():
                self.transport.write_eof()
            self._deadline = self.loop.call_later(_LINGER_S, self.transport.close)
        elif not self.is_answering:  # no request was pipelined
            self._limits.waits(self)
            self._expect_head()

    def _expect_head(self) -> None:
        self._cancel()
        self._deadline = self.loop.call_later(self._limits.head_s, self._head_is_late)

    def _cancel(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _head_is_late(self) -> None:
        if self.transport.is_closing() or self.is_answering:
            return
        if self.conn.trailing_data[0]:  # a part of a head came
            headers = [(b"connection", b"close"), (b"content-length", b"0")]
            answer = h11.Response(status_code=408, headers=headers, reason=STATUS_PHRASES[408])
            for event in (answer, h11.EndOfMessage()):
                self.transport.write(self.conn.send(event))
            self.transport.close()
        else:
            self.end()
