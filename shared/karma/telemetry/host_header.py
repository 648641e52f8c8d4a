"""Whether a request's Host header names this server: under any other name somebody's DNS may point a browser here."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

#: Ends of names that no public DNS gives to anybody (RFC 6761, RFC 6762, ICANN's `.internal`; `.svc` of Kubernetes).
_PRIVATE_ENDS = (".localhost", ".local", ".internal", ".svc")


def names_server(host: str, names: Collection[str], private: bool = False) -> bool:
    """Whether a Host header names this server.

    An IP address does: a browser that came by a name sends the name.

    Args:
        host: the header, with or without a port.
        names: of the server, in lower case.
        private: names without a dot, and those that only a private network gives, do as well.
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
        return name in names or (private and ("." not in name or name.endswith(_PRIVATE_ENDS)))
    return True
