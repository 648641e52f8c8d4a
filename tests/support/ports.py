"""Ports for servers that bind them later."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST, _EPHEMERAL = 12_000, 32_768  # the latter where Linux begins by default


def free_port() -> int:
    """A port of 127.0.0.1 that is free now, below those that the system hands out.

    A server takes seconds to bind it; meanwhile, another test's server that asks for any port must not get this one.
    """
    end = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else _EPHEMERAL
    draw = random.SystemRandom()
    while True:
        port = draw.randrange(_LOWEST, max(end, _LOWEST + 4_000))
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
