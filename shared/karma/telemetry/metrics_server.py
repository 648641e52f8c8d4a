"""Serves the metrics of this process to a Prometheus that scrapes it."""

from __future__ import annotations

import socket
from typing import Any

from prometheus_client import make_wsgi_app, start_http_server

from karma.errors import SettingsError
from karma.telemetry.host_header import names_server

#: Time for a scrape's request; each connection holds a thread.
_REQUEST_S = 10.0


def serve(port: int, host: str) -> int:
    """Serve `/metrics` of this process; returns the port, which the system chooses if `port` is 0.

    A request by a name that may be another's is refused, and so is one that another site's page sends.

    Raises:
        SettingsError: the port is in use, or the host is no address of this machine.
    """
    try:
        server, _thread = start_http_server(port, addr=host)
    except OSError as cause:
        raise SettingsError(
            f"environment: metrics cannot be served on {host}:{port}: {cause.strerror or cause}. "
            "Choose another KARMA_METRICS_PORT (0: any free one) or KARMA_METRICS_HOST"
        ) from cause
    names = {name.lower() for name in ("localhost", socket.gethostname(), host)}
    scraped = make_wsgi_app()

    def guarded(environ: dict[str, Any], start_response: Any) -> Any:
        own = names_server(environ.get("HTTP_HOST", ""), names, private=True)
        if own and environ.get("HTTP_SEC_FETCH_SITE", "none") in ("none", "same-origin"):
            return scraped(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"Metrics are not served under this name, nor to another site's page.\n"]

    server.set_app(guarded)
    server.RequestHandlerClass.timeout = _REQUEST_S  # type: ignore[attr-defined]  # of socketserver.StreamRequestHandler
    return int(server.server_port)
