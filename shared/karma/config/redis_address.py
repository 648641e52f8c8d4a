"""The address of Redis: one URL, parsed once, decides for KARMA's own client and for Celery's connections.

User and password are part of it, or variables of their own (KARMA_REDIS_USER, KARMA_REDIS_PASSWORD).

`rediss://` is TLS. The server's certificate and host name are verified unless `ssl_cert_reqs=none` switches that off.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from karma.errors import SettingsError, did_you_mean

#: Redis' users: one per service, and an administrator. `karma.queue.acl` says what each may do.
USERS = ("gateway", "generation", "scoring", "matching", "judging", "page", "cli")
ADMIN = "admin"

_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_OPTIONS = (*_FILES, "ssl_cert_reqs", "ssl_check_hostname")
_CONNECTION = ("db", "username", "password")
_NUMBER = re.compile(r"/?(?P<number>[0-9]{0,5})", re.ASCII)
_REQUIREMENTS = {"required": "required", "none": "none", "cert_required": "required", "cert_none": "none"}
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True)
class RedisAddress:
    """Where Redis is.

    Attributes:
        url: without the options of TLS; user and password are escaped.
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
            SettingsError: it is no such URL, or an option is unknown or wrong.
                The error repeats no part of a password.
        """
        parts, options = _split(url)
        given = {name: options.pop(name) for name in list(options) if name.startswith("ssl_")}
        if given and parts.scheme != "rediss":
            raise SettingsError(f"KARMA_REDIS_URL has {', '.join(given)} and no TLS: begin it with rediss://")
        tls = _tls(given) if parts.scheme == "rediss" else {}
        return cls(_joined(parts, options), f"{parts.scheme}://{parts.hostname}:{parts.port or 6379}{parts.path}", tls)


def password_variable(user: str) -> str:
    """The variable from which `karma acl` takes a user's password."""
    return f"KARMA_REDIS_PASSWORD_{user.upper()}"


def with_credentials(url: str, user: str | None, password: str | None) -> str:
    """The URL with a user and a password that are variables of their own, without any escapes.

    Raises:
        SettingsError: it is no address of Redis, or has another user or password itself. Neither is repeated.
    """
    parts, options = _split(url)
    credentials = {}
    for name, given, own in (("USER", user, parts.username), ("PASSWORD", password, parts.password)):
        credentials[name] = unquote(own) if own else given or ""
        if given and credentials[name] != given:
            raise SettingsError(
                f"KARMA_REDIS_URL and KARMA_REDIS_{name} name two different ones (they are not shown): set one of them"
            )
    return _joined(_replaced(parts, credentials["USER"], credentials["PASSWORD"]), options)


_EXPECTED = (
    "expected redis://[USER:PASSWORD@]HOST[:PORT][/NUMBER], or rediss:// for TLS; "
    "in a password, write @ as %40, / as %2F, # as %23, ? as %3F, % as %25, or set it as KARMA_REDIS_PASSWORD"
)


def _split(url: str) -> tuple[SplitResult, dict[str, str]]:
    """The parts of a URL with escaped credentials, whether they were before the host or options, and its other options.

    What a password with unescaped `/`, `?` or `#` would leave behind in another part is refused.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        user, password = (unquote(text or "", errors="strict") for text in (parts.username, parts.password))
        options = dict(parse_qsl(parts.query, keep_blank_values=True, errors="strict"))
    except ValueError:  # its text may quote a part of the password
        raise SettingsError(f"KARMA_REDIS_URL is no address of Redis; {_EXPECTED}") from None
    left_behind = "@" in parts.path + parts.query + parts.fragment or "#" in url
    number = _NUMBER.fullmatch(parts.path)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname or left_behind or number is None or port == 0:
        raise SettingsError(f"KARMA_REDIS_URL is no address of Redis; {_EXPECTED}")
    if any(name not in _CONNECTION and not name.startswith("ssl_") for name in options):
        raise SettingsError(
            f"KARMA_REDIS_URL has an option that KARMA does not know (it is not shown); known are: "
            f"{', '.join((*_CONNECTION, *_OPTIONS))}"
        )
    database = options.pop("db", number["number"] or "")
    if not _NUMBER.fullmatch(f"/{database}") or (number["number"] or database) != database:
        raise SettingsError("KARMA_REDIS_URL names two databases, or none by its number: write /NUMBER after the host")
    given = {name: options.pop(name, own) or own for name, own in (("username", user), ("password", password))}
    parts = _replaced(parts._replace(path=f"/{database}" if database else parts.path), **given)
    return parts, options


def _replaced(parts: SplitResult, username: str, password: str) -> SplitResult:
    """The parts with these credentials, escaped as every client reads them back."""
    host = parts.netloc.rpartition("@")[2]
    credentials = f"{quote(username, safe='')}:{quote(password, safe='')}" if password else quote(username, safe="")
    return parts._replace(netloc=f"{credentials}@{host}" if credentials else host)


def _joined(parts: SplitResult, options: Mapping[str, str]) -> str:
    return urlunsplit(parts._replace(query=urlencode(options)))


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
