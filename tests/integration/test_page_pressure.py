"""Whoever reaches the page's port keeps nobody else out: by no open connections, and no slow, long or many requests."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import urlsplit

import pytest

from karma.store import Store
from karma_monitor.page import event_stream, security
from karma_monitor.page.connections import CONNECTIONS, Limits
from tests.support.page import Page, Stream, serving
from tests.support.pipeline import wait_until

pytestmark = pytest.mark.timeout(60)

POST = b"POST /api/pause HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nAuthorization: Bearer %s\r\n"


@contextmanager
def connected(page: Page, source: str = "127.0.0.1") -> Iterator[socket.socket]:
    parts = urlsplit(page.url)
    with socket.create_connection((parts.hostname, parts.port), 20, (source, 0)) as made:
        yield made


def answer(made: socket.socket) -> bytes:
    """What comes until the page closes the connection."""
    parts = []
    try:
        while part := made.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def is_closed(made: socket.socket) -> bool:
    made.setblocking(False)
    try:
        return made.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def head(page: Page) -> bytes:
    return POST % page.token.encode()


def test_idle_connections_in_any_number_keep_nobody_out(store: Store) -> None:
    with serving(store) as (page, _live), ExitStack() as stack:
        idle = [stack.enter_context(connected(page)) for _n in range(CONNECTIONS + 60)]
        assert page.ask("/api/board")[0] == 200
        wait_until(lambda: sum(map(is_closed, idle)) >= 60, 20, "the oldest are closed")
        assert not is_closed(idle[-1])


def test_who_is_being_answered_and_who_holds_few_connections_keeps_them(store: Store) -> None:
    with serving(store, limits=Limits(connections=20)) as (page, _live), ExitStack() as stack:
        stream = Stream(page)
        wait_until(lambda: stream.ids, 20, "a picture comes")
        other = stack.enter_context(connected(page, "127.0.0.2"))
        idle = [stack.enter_context(connected(page)) for _n in range(60)]
        wait_until(lambda: sum(map(is_closed, idle)) >= 42, 20, "the oldest are closed")
        seen = len(stream.ids)
        wait_until(lambda: len(stream.ids) > seen, 20, "pictures still come")
        assert not is_closed(other)
        stream.close()


@pytest.mark.parametrize("sent", [b"", b"GET /api/board HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Sl"])
def test_a_head_that_does_not_come_is_not_waited_for(store: Store, sent: bytes) -> None:
    with serving(store, limits=Limits(head_s=0.5)) as (page, _live), connected(page) as slow:
        slow.sendall(sent)
        assert answer(slow).partition(b"\r\n")[0] == (b"HTTP/1.1 408 Request Timeout" if sent else b"")


def test_a_head_that_comes_drop_by_drop_after_an_answer_is_not_waited_for_either(store: Store) -> None:
    with serving(store, limits=Limits(head_s=0.5)) as (page, _live), connected(page) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        while b"</html>" not in slow.recv(65536):
            pass
        dropped: list[int] = []

        def is_ended() -> bool:
            with suppress(OSError):
                dropped.append(slow.send(b"x"))
                slow.setblocking(True)
                return is_closed(slow)
            return True

        wait_until(is_ended, 20, "the page closes it", every_s=0.1)
        assert 0 < len(dropped) < 50


def test_a_body_that_comes_slowly_is_a_408(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "BODY_S", 0.5)
    with serving(store) as (page, _live), connected(page) as slow:
        slow.sendall(head(page) + b"Content-Length: 100\r\n\r\n{")
        assert answer(slow).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("length", [b"Content-Length: 1073741824", b"Transfer-Encoding: chunked"])
def test_a_long_body_is_a_413_and_is_not_read_to_its_end(store: Store, length: bytes) -> None:
    chunk = b"%x\r\n%s\r\n" % (1 << 16, b"x" * (1 << 16))
    with serving(store) as (page, _live), connected(page) as sender:
        sender.sendall(head(page) + length + b"\r\n\r\n")
        sent, said = 0, b""
        sender.settimeout(10)
        try:
            while sent < 64 << 20:
                sent += sender.send(chunk)
        except OSError:  # the page closed it
            pass
        with suppress(OSError):
            said = answer(sender)
        assert sent < 64 << 20
        assert not said or said.startswith(b"HTTP/1.1 413 ")
        assert page.ask("/api/board")[0] == 200


def test_the_answer_to_a_long_body_reaches_who_reads_it(page_of_store: Page) -> None:
    for body in (b"x" * 100_000, b"x" * 40_000):
        assert page_of_store.ask("/api/pause", "POST", body, {"Content-Type": "application/json"})[0] == 413


@pytest.fixture
def page_of_store(store: Store) -> Iterator[Page]:
    with serving(store) as (served, _live):
        yield served


def test_who_asks_too_often_waits_and_others_do_not(store: Store) -> None:
    with serving(store, limits=Limits(rate_per_s=0.5)) as (page, _live):
        answers = [page.ask("/static/icon.svg") for _n in range(30)]
        statuses = [status for status, _found, _headers in answers]
        assert statuses[:5] == [200] * 5
        assert statuses.count(429) > 5
        assert answers[statuses.index(429)][2]["Retry-After"] in ("1", "2")
        other = http.client.HTTPConnection(page.address, timeout=20, source_address=("127.0.0.2", 0))
        other.request("GET", "/static/icon.svg")
        assert other.getresponse().status == 200
        other.close()
        wait_until(lambda: page.ask("/static/icon.svg")[0] == 200, 20, "it may ask again", every_s=0.2)


def test_live_views_are_limited_and_a_closed_one_makes_room(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "MOST_OF_A_CLIENT", 2)
    with serving(store) as (page, _live):
        streams = [Stream(page), Stream(page)]
        for stream in streams:
            wait_until(lambda: stream.ids, 20, "a picture comes")  # noqa: B023
        status, found, _headers = page.ask("/api/live")
        assert (status, found["error"]) == (503, "Too many live views are open. Close one.")
        streams[0].close()

        def opens() -> bool:
            again = Stream(page)
            opened = bool(again.headers["Content-Type"].startswith("text/event-stream"))
            again.close()
            return opened

        wait_until(opens, 20, "there is room again", every_s=0.3)
        streams[1].close()
