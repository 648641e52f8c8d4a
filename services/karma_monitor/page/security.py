"""Access control: the host names of the page, its tokens, what a request may send, and what a browser may load."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as ASGIScope

from karma.telemetry.host_header import names_server
from karma_monitor.page.tokens import Scope

#: A browser may load the page's own files, and run nothing inline.
_OWN, _NOTHING = ("script", "style", "img", "font", "connect"), ("base-uri", "form-action", "frame-ancestors")
_POLICY = ["default-src 'none'", *(f"{kind}-src 'self'" for kind in _OWN), *(f"{kind} 'none'" for kind in _NOTHING)]

HEADERS = {
    "Content-Security-Policy": "; ".join(_POLICY),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

#: The longest body of a request, and the time for it.
BODY_BYTES = 16 * 1024
BODY_S = 10.0

#: Where a token becomes a cookie.
SESSION_PATH = "/api/session"

_SAFE = frozenset({"GET", "HEAD"})
_FORGIVEN_SITES = frozenset({"same-origin", "none"})


@dataclass(frozen=True)
class Refusal:
    """A status and a sentence instead of an answer.

    Attributes:
        insufficient: another token would do.
        wait_s: after which the request may be sent again.
    """

    status: int
    sentence: str
    insufficient: bool = False
    wait_s: float = 0.0


@dataclass(frozen=True)
class Access:
    """Who may ask the page.

    Attributes:
        scope_of: what a token allows.
        names: host names of the page, besides IP addresses.
        cookie: the name of the cookie that holds a token; the ports of a host share their cookies.
        wait_s: client → seconds until it may ask; 0 if it may now.
    """

    scope_of: Callable[[str], Scope | None]
    names: Iterable[str]
    cookie: str = "karma"
    wait_s: Callable[[str], float] = lambda _client: 0.0

    def token_of(self, request: HTTPConnection, by_header_only: bool = False) -> str:
        """The token that a request brings; empty if none."""
        kind, _space, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return token.strip()
        return "" if by_header_only else request.cookies.get(self.cookie, "")


class Guard:
    """Refuses requests of other origins and those whose token does not allow them; adds the headers to every answer.

    A token comes in the header `Authorization: Bearer TOKEN`, or in the cookie that the page's own `/api/session` sets:
    an event stream of a browser sends no other header. The page's files need none, as they hold no data.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access
        self._names = frozenset(name.lower() for name in access.names)

    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        request = HTTPConnection(scope)
        refusal = self._too_often(request) or self._refusal(scope["method"], scope["path"], request)
        if refusal is None:
            body = await read_body(Headers(scope=scope), receive)
            if isinstance(body, bytes):
                await self._app(scope, replayed(body, receive), send_with_headers)
                return
            refusal = body
        await _answer(send_with_headers, refusal)

    def _too_often(self, request: HTTPConnection) -> Refusal | None:
        wait_s = self._access.wait_s(client_of(request))
        return Refusal(429, "Too many requests.", wait_s=wait_s) if wait_s else None

    def _refusal(self, method: str, path: str, request: HTTPConnection) -> Refusal | None:
        headers = request.headers
        host = headers.get("host", "")
        if not names_server(host, self._names):
            return Refusal(
                403,
                "The page has no such name. It answers to IP addresses, localhost, this machine's name and "
                "KARMA_PAGE_HOST.",
            )
        if not path.startswith("/api/"):
            return None
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        own = f"{request.url.scheme}://{host}".lower()
        if (origin is not None and origin.lower() != own) or (site is not None and site not in _FORGIVEN_SITES):
            return Refusal(403, "Request of another origin. Only the page itself may send such requests.")
        changes = method not in _SAFE
        if changes and headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return Refusal(415, "The content type must be application/json.")
        return self._not_allowed(changes and path != SESSION_PATH, changes and origin is None, request)

    def _not_allowed(self, controls: bool, by_header_only: bool, request: HTTPConnection) -> Refusal | None:
        """Why a request's token does not allow it. A change by a cookie needs the origin that every browser sends."""
        scope = self._access.scope_of(self._access.token_of(request, by_header_only))
        if scope is None:
            return Refusal(
                401, "This needs a token: open the link that `karma token` prints (or Authorization: Bearer TOKEN)."
            )
        if controls and scope != "control":
            return Refusal(403, "This token may only read. To change things: `karma token`.", insufficient=True)
        return None


def client_of(request: HTTPConnection) -> str:
    """The address of whoever asks; what a proxy on this machine says of it is believed."""
    return request.client.host if request.client else ""


async def _answer(send: Send, refusal: Refusal) -> None:
    body = msgspec.json.encode({"error": refusal.sentence})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refusal.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    elif refusal.wait_s:
        headers.append((b"retry-after", str(math.ceil(refusal.wait_s)).encode()))
    elif refusal.insufficient:
        headers.append((b"www-authenticate", b'Bearer error="insufficient_scope"'))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def read_body(headers: Headers, receive: Receive) -> bytes | Refusal:
    """The body of a request, or why it is not read on: it is too long, or comes too slowly."""
    too_long = Refusal(413, f"The body is longer than {BODY_BYTES // 1024} KiB.")
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length[:20]) > BODY_BYTES:
        return too_long
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            while True:
                message = await receive()
                body += message.get("body", b"")
                if len(body) > BODY_BYTES:
                    return too_long
                if not message.get("more_body", False):  # the end of the body, or of the connection
                    return bytes(body)
    except TimeoutError:
        return Refusal(408, f"The body did not come within {BODY_S:g} s.")


def replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body that was read, and then what follows it."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again
