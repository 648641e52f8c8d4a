"""Access control: the host names of the page, the token for changes, and what a browser may load."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Iterable
from urllib.parse import urlsplit

import msgspec
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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

#: The longest body of a request.
BODY_BYTES = 16 * 1024

_SAFE = frozenset({"GET", "HEAD"})
_FORGIVEN_SITES = frozenset({"same-origin", "none"})


class Guard:
    """Refuses requests of other origins and changes without the token; adds the headers to every answer."""

    def __init__(self, app: ASGIApp, token: str, names: Iterable[str]) -> None:
        self._app = app
        self._token = token.encode()
        self._names = frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
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

        refusal = self._refusal(scope["method"], Headers(scope=scope), scope["scheme"])
        if refusal is None:
            await self._app(scope, receive, send_with_headers)
        else:
            await _answer(send_with_headers, *refusal)

    def _refusal(self, method: str, headers: Headers, scheme: str) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if not self.is_ours(host):
            return 403, (
                "The page has no such name. It answers to IP addresses, localhost, this machine's name and "
                "KARMA_PAGE_HOST."
            )
        if method in _SAFE:
            return None
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if (origin is not None and origin.lower() != f"{scheme}://{host}".lower()) or (
            site is not None and site not in _FORGIVEN_SITES
        ):
            return 403, "Request of another origin. Only the page itself may send changes."
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return 415, "The content type must be application/json."
        given = headers.get("authorization", "").encode()
        kind, _space, token = given.partition(b" ")
        if kind.lower() != b"bearer" or not secrets.compare_digest(token.strip(), self._token):
            return 401, "This needs the token that `karma up` prints (Authorization: Bearer TOKEN)."
        return None

    def is_ours(self, host: str) -> bool:
        """Whether a Host header names this page.

        A name that another DNS points here is not ours (DNS rebinding). An IP address is: a browser that came by a
        name sends the name.
        """
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        if not name or "@" in host or "/" in host:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        return True


async def _answer(send: Send, status: int, error: str) -> None:
    body = msgspec.json.encode({"error": error})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
