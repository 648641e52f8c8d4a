"""The page's server in this process, over a real socket, and a client of it."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from karma.store import Store
from karma_monitor.figures.quality import default_margin
from karma_monitor.live_status import LiveStatus
from karma_monitor.page.access import listen, names_of, url_of
from karma_monitor.page.app import create_app
from karma_monitor.page.connections import Limits
from karma_monitor.page.control import Control
from karma_monitor.page.event_stream import Live
from karma_monitor.page.security import Access
from karma_monitor.page.server import Server, config_of
from karma_monitor.page.tokens import Tokens
from karma_monitor.page.views import Views
from karma_scoring.withdrawal import withdrawal
from tests.support.memory import make_pool
from tests.support.pipeline import wait_until

COOKIE = "karma-test"

TOKEN = "a-token-that-only-this-test-knows"

#: One that may read only.
READ_TOKEN = "a-token-to-read-with"

JSON = {"Content-Type": "application/json"}


class Page:
    """A served page, and what a client does with it."""

    def __init__(self, url: str, token: str = TOKEN) -> None:
        self.url = url.rstrip("/")
        self.address = urlsplit(url).netloc
        self.token = token

    @classmethod
    def of(cls, home: Path) -> Page:
        """The page that runs in a home, with a new token of it."""
        return cls((home / "run" / "page.url").read_text(), Tokens(home).mint("control"))

    def ask(
        self, path: str, method: str = "GET", body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, http.client.HTTPMessage]:
        """Status, body (JSON where it is) and headers of an answer. An empty header is left out."""
        given = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        connection = http.client.HTTPConnection(self.address, timeout=30)
        sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(
            method, path, sent, {name: value for name, value in given.items() if value or name == "Host"}
        )
        answer = connection.getresponse()
        raw = answer.read()
        is_json = answer.headers.get("Content-Type", "").startswith("application/json")
        connection.close()
        return answer.status, json.loads(raw) if is_json else raw, answer.headers

    def get(self, path: str) -> Any:
        status, found, _headers = self.ask(path)
        assert status == 200, found
        return found

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        given = {**JSON, **{name.replace("_", "-"): value for name, value in headers.items()}}
        status, found, _headers = self.ask(path, "POST", body, given)
        return status, found


class Stream:
    """An open event stream; what came is kept."""

    def __init__(self, page: Page) -> None:
        self._connection = http.client.HTTPConnection(page.address, timeout=30)
        self._connection.request("GET", "/api/live", headers={"Authorization": f"Bearer {page.token}"})
        self._answer = self._connection.getresponse()
        self.headers = self._answer.headers
        self.lines: list[str] = []
        self.ended = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            while line := self._answer.readline():
                self.lines.append(line.decode().rstrip("\n"))
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            pass
        self.ended.set()

    @property
    def ids(self) -> list[int]:
        return [int(line[4:]) for line in self.lines if line.startswith("id: ")]

    @property
    def pictures(self) -> list[Any]:
        return [json.loads(line[6:]) for line in self.lines if line.startswith("data: ")]

    def close(self) -> None:
        assert self._connection.sock is None or self._connection.sock.shutdown(socket.SHUT_RDWR) is None


@contextmanager
def serving(store: Store, pool: Any = None, limits: Limits | None = None) -> Iterator[tuple[Page, Live]]:
    limits, pool = limits or Limits(), pool or make_pool("ab")
    board = LiveStatus(store, None, pool)
    live = Live(board.read, every_s=0.1)
    app = create_app(
        Views(store, None, board, default_margin),
        Control(store, None, board.expire, withdrawal(pool)),
        live,
        Access({TOKEN: "control", READ_TOKEN: "read"}.get, names_of("127.0.0.1"), COOKIE, limits.wait_s),  # type: ignore[arg-type]
    )
    listener = listen("127.0.0.1", 0)
    server = Server(config_of(app, limits), live)
    thread = threading.Thread(target=lambda: server.run([listener]))
    thread.start()
    try:
        wait_until(lambda: server.started, 30, "the page is served")
        yield Page(url_of("127.0.0.1", listener)), live
    finally:
        server.handle_exit(signal.SIGTERM, None)
        thread.join(30)
        assert not thread.is_alive()
