"""A certificate authority of a test's own, and a proxy that speaks TLS in front of a server without it."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support import needs


class Authority:
    """A CA in a folder; signs certificates by openssl."""

    def __init__(self, folder: Path) -> None:
        needs.program("openssl", "openssl")
        folder.mkdir()
        self._folder = folder
        self.certificate = folder / "ca.pem"
        subject = ["-subj", "/CN=a test's own authority", "-days", "2", "-nodes", "-newkey", "ec"]
        curve = ["-pkeyopt", "ec_paramgen_curve:prime256v1"]
        _openssl("req", "-x509", *subject, *curve, "-keyout", folder / "ca.key", "-out", self.certificate)

    def sign(self, name: str, host: str = "127.0.0.1") -> tuple[Path, Path]:
        """A certificate for an address, and its key."""
        key, request, certificate = (self._folder / f"{name}.{ending}" for ending in ("key", "csr", "pem"))
        names = self._folder / f"{name}.cnf"
        names.write_text(f"subjectAltName=IP:{host}\n")
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        _openssl("req", *curve, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        ca = ["-CA", self.certificate, "-CAkey", self._folder / "ca.key", "-CAcreateserial", "-days", "2"]
        _openssl("x509", "-req", "-in", request, *ca, "-extfile", names, "-out", certificate)
        return certificate, key


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@contextmanager
def tls_proxy(port: int, certificate: tuple[Path, Path], clients: Path | None = None) -> Iterator[int]:
    """The port of a proxy that speaks TLS for the server on `port`; it asks for a certificate by the CA `clients`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
        with suppress(asyncio.CancelledError):
            await asyncio.gather(pump(reader, up_writer), pump(up_reader, writer))

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    starting = asyncio.start_server(connect, "127.0.0.1", 0, ssl=context)
    server = asyncio.run_coroutine_threadsafe(starting, loop).result(10)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


async def _end(server: asyncio.Server) -> None:
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for other in others:
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)
