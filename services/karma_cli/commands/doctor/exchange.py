"""One HTTP exchange with an endpoint, and the exact cause where there is none.

The client of the workers says only that a connection dropped: here the cause is the result. Redirects are not followed.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

_READ_BYTES = 8 << 20
_PROBE_S = 3.0
_NAME_CHARACTERS = 200  # of a model; longer names are left out
_TO_TLS = "the server at {where} speaks TLS, and base_url says http://"


@dataclass(frozen=True)
class Exchange:
    """The result of a request: a status with headers and a body, or the code of a finding with its words."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case
    body: bytes = b""
    fault: str | None = None
    said: str = ""
    took_s: float = 0.0


def endpoint_url(base_url: str, path: str) -> str:
    """The URL of a path below `base_url`, which may have options behind a `?`."""
    base, mark, options = base_url.partition("?")
    return f"{base.rstrip('/')}{path}{mark}{options}"


def exchange(
    method: str, url: str, key: str | None = None, body: bytes | None = None, timeout_s: float = 30.0
) -> Exchange:
    """Make one request. It raises nothing: a failure is in the result."""
    parts = urlsplit(url)
    host, encrypted = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if encrypted else 80)
    kind = http.client.HTTPSConnection if encrypted else http.client.HTTPConnection
    connection = kind(host, port, timeout=timeout_s)
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    started = time.monotonic()
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, body, headers)
        response = connection.getresponse()
        read = _read(response, started + timeout_s)
    except (OSError, http.client.HTTPException, ValueError) as cause:
        fault, said = _fault(cause, host, port, encrypted, timeout_s)
        return Exchange(fault=fault, said=said)
    finally:
        connection.close()
    if not encrypted and response.status == 400 and _speaks_tls(host, port):
        return Exchange(fault="plain-to-tls", said=_TO_TLS.format(where=f"{host}:{port}"))
    named = {name.lower(): value for name, value in response.getheaders()}
    return Exchange(response.status, named, read, took_s=time.monotonic() - started)


def _fault(cause: Exception, host: str, port: int, encrypted: bool, timeout_s: float) -> tuple[str, str]:
    """The code of a finding and its words, for an exchange that failed."""
    where = f"{host}:{port}"
    match cause:
        case ssl.SSLCertVerificationError():
            known = "certificate", f"the certificate of {where} is refused: {cause.verify_message}"
        case socket.gaierror():
            known = "unknown-host", f"the host {host} is unknown: {cause.strerror}"
        case TimeoutError():
            known = "timeout", f"{where} did not answer within {timeout_s:g} s"
        case ConnectionRefusedError():
            known = "no-server", f"nothing listens at {where}"
        case _ if encrypted and _speaks_http(host, port):
            known = "tls-to-plain", f"the server at {where} speaks no TLS, and base_url says https://"
        case _ if not encrypted and _speaks_tls(host, port):
            known = "plain-to-tls", _TO_TLS.format(where=where)
        case _:
            words = f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__
            known = "dropped", f"{where} closed the connection without an answer ({words})"
    return known


def _read(response: http.client.HTTPResponse, until: float) -> bytes:
    parts = bytearray()
    while part := response.read1(1 << 16):
        parts += part
        if len(parts) > _READ_BYTES:
            raise ValueError("the answer is larger than 8 MiB")
        if time.monotonic() > until:
            raise TimeoutError
    return bytes(parts)


def listed_models(base_url: str, key: str | None, timeout_s: float = _PROBE_S) -> list[str] | None:
    """The models that an endpoint lists (`GET /models`), in its order; None where it does not."""
    answer = exchange("GET", endpoint_url(base_url, "/models"), key, timeout_s=timeout_s)
    if answer.status != 200:
        return None
    return models_in(answer.body)


def models_in(body: bytes) -> list[str] | None:
    """The names in an answer to `GET /models`; None where it is none."""
    try:
        said: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    entries = said.get("data") if isinstance(said, dict) else said  # Together gives the list alone
    if not isinstance(entries, list):
        return None
    names = [entry["id"] for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)]
    return list(dict.fromkeys(name for name in names if name.isprintable() and 0 < len(name) <= _NAME_CHARACTERS))


def _speaks_tls(host: str, port: int) -> bool:
    """Whether a TLS handshake succeeds; nothing is sent over it, so nothing is verified."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), _PROBE_S) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            return True
    except OSError:
        return False


def _speaks_http(host: str, port: int) -> bool:
    """Whether a server answers plain HTTP."""
    try:
        with socket.create_connection((host, port), _PROBE_S) as plain:
            plain.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            return plain.recv(5) == b"HTTP/"
    except OSError:
        return False
