"""The page's address and its host names."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from karma.config.atomic_file import write_private
from karma.errors import SettingsError

#: Ports that are tried, from the wanted one on.
_PORTS = 20


def names_of(page_host: str) -> set[str]:
    """The host names of the page, besides IP addresses."""
    return {"localhost", socket.gethostname(), page_host} - {""}


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def url_path(home: Path) -> Path:
    """The file with the address of a running page."""
    return home / "run" / "page.url"


@contextmanager
def announced(home: Path, url: str) -> Iterator[None]:
    """Keep the address of a page in its home while it runs. If another page runs there, its address is put back."""
    path = url_path(home)
    before = _text_of(path)
    write_private(path, url)
    try:
        yield
    finally:
        if _text_of(path) == url:
            if before is not None and _answers(before):
                write_private(path, before)
            else:
                path.unlink(missing_ok=True)


def _text_of(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def _answers(url: str) -> bool:
    """Whether something listens at an address."""
    try:
        address = urlsplit(url)
        socket.create_connection((address.hostname or "", address.port or 80), timeout=1).close()
    except (OSError, ValueError):
        return False
    return True


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on the port, or on the next free one if it is taken; port 0 is any free one.

    Raises:
        SettingsError: a range of ports is taken, or the host is none of this machine's.
    """
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as cause:
        raise SettingsError(f"KARMA_PAGE_HOST is {host!r}: {cause.strerror or cause}") from cause
    for candidate in range(port, min(port + _PORTS, 65536) if port else 1):
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address[0], candidate, *address[2:]))
            listener.listen(128)
        except OSError as cause:
            listener.close()
            error = cause
            if cause.errno != errno.EADDRINUSE:
                break
        else:
            return listener
    raise SettingsError(
        f"the page cannot listen on {host}:{port}: {error.strerror}. "
        "Choose another port with KARMA_PAGE_PORT (0: any free one), or another address with KARMA_PAGE_HOST"
    ) from error


def port_of(listener: socket.socket) -> int:
    """The port of a listening socket."""
    return int(listener.getsockname()[1])


def url_of(host: str, listener: socket.socket) -> str:
    """The page's address for people on this machine."""
    port = port_of(listener)
    name = "127.0.0.1" if host in ("", "0.0.0.0") else "[::1]" if host == "::" else f"[{host}]" if ":" in host else host  # noqa: S104
    return f"http://{name}:{port}/"
