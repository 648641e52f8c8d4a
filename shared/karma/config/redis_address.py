"""The address of Redis: one URL, parsed once, decides for KARMA's own client and for Celery's connections.

`rediss://` is TLS. The server's certificate and host name are verified unless `ssl_cert_reqs=none` switches that off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from karma.errors import SettingsError, did_you_mean

_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_OPTIONS = (*_FILES, "ssl_cert_reqs", "ssl_check_hostname")
_REQUIREMENTS = {"required": "required", "none": "none", "cert_required": "required", "cert_none": "none"}
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True)
class RedisAddress:
    """Where Redis is.

    Attributes:
        url: without the options of TLS.
        shown: the URL without its password, for errors.
        tls: the options of TLS as redis-py names them, for both clients; empty without TLS.
    """

    url: str = field(repr=False)
    shown: str
    tls: Mapping[str, Any]

    @classmethod
    def parse(cls, url: str) -> RedisAddress:
        """The address in a URL.

        Raises:
            SettingsError: it is no such URL, or an option of TLS is unknown or wrong.
                The error repeats no part of a password.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or 6379
        except ValueError:  # its text may quote a part of the password
            raise SettingsError(f"KARMA_REDIS_URL is no address of Redis; {_EXPECTED}") from None
        if parts.scheme not in ("redis", "rediss") or not parts.hostname:
            raise SettingsError(f"KARMA_REDIS_URL is no address of Redis; {_EXPECTED}")
        shown = f"{parts.scheme}://{parts.hostname}:{port}{parts.path}"
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        given = {name: options.pop(name) for name in list(options) if name.startswith("ssl_")}
        if given and parts.scheme != "rediss":
            raise SettingsError(f"KARMA_REDIS_URL has {', '.join(given)} and no TLS: begin it with rediss://")
        tls = _tls(given) if parts.scheme == "rediss" else {}
        return cls(urlunsplit(parts._replace(query=urlencode(options))), shown, tls)


_EXPECTED = (
    "expected redis://[USER:PASSWORD@]HOST[:PORT][/NUMBER], or rediss:// for TLS; "
    "in a password, write @ as %40, / as %2F, # as %23, % as %25"
)


def _tls(given: Mapping[str, str]) -> dict[str, Any]:
    options: dict[str, Any] = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
    for name, value in given.items():
        if name not in _OPTIONS:
            raise SettingsError(f"KARMA_REDIS_URL has the unknown option {name}{did_you_mean(name, _OPTIONS)}")
        if name in _FILES:
            if not Path(value).is_file():
                raise SettingsError(f"{name} of KARMA_REDIS_URL is {value!r}: there is no such file")
            options[name] = value
            continue
        known: Mapping[str, Any] = _REQUIREMENTS if name == "ssl_cert_reqs" else _BOOLEANS
        if value.lower() not in known:
            expected = "required or none" if name == "ssl_cert_reqs" else "true or false"
            raise SettingsError(f"{name} of KARMA_REDIS_URL is {value!r}, expected {expected}")
        options[name] = known[value.lower()]
    if options["ssl_cert_reqs"] == "none":
        options["ssl_check_hostname"] = False
    return options
