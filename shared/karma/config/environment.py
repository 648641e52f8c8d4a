"""The environment variables `KARMA_…`, validated at the start. The pool file is in `karma.config.pool`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from karma.config.database_address import DatabaseAddress
from karma.config.redis_address import ADMIN, USERS, RedisAddress, password_variable, with_credentials
from karma.errors import SettingsError, did_you_mean
from karma.messages.signing import Keyring

_ENVIRONMENT = {
    "KARMA_HOME",
    "KARMA_POOL",
    "KARMA_REDIS_URL",
    "KARMA_REDIS_USER",
    "KARMA_REDIS_PASSWORD",
    *map(password_variable, (*USERS, ADMIN)),
    "KARMA_DATABASE_URL",
    "KARMA_DATABASE_PASSWORD",
    "KARMA_SOURCE_REDIS_URL",
    "KARMA_DURABILITY",
    "KARMA_SUPERVISOR_PID",
    "KARMA_SIGNING_KEY",
    "KARMA_SIGNING_KEYS",
    "KARMA_METRICS_PORT",
    "KARMA_METRICS_HOST",
    "KARMA_PAGE_HOST",
    "KARMA_PAGE_PORT",
    "KARMA_LOG_LEVEL",
    "KARMA_LOG_FORMAT",
    "KARMA_PLUGINS",
    "KARMA_TORCH_THREADS",
    "KARMA_BENCH_DATA",
}

#: Variables that may also be given as a file, by a variable of this name with `_FILE` behind it.
SECRETS = (
    *("KARMA_SIGNING_KEY", "KARMA_SIGNING_KEYS", "KARMA_DATABASE_PASSWORD", "KARMA_REDIS_PASSWORD"),
    "KARMA_SOURCE_REDIS_URL",
)
_ENVIRONMENT |= {f"{name}_FILE" for name in SECRETS}


Durability = Literal["normal", "full"]


@dataclass(frozen=True)
class Environment:
    """A process's settings from environment variables. `home` is the folder of all files that KARMA writes itself."""

    home: Path
    pool_path: Path
    #: With its user and password; None: the embedded Redis that `karma up` started.
    redis_url: str | None = field(repr=False)
    database_url: str = field(repr=False)  # as it was given: `database` has the password too
    durability: Durability  # of workers' commits to SQLite; ingest always uses `full`
    metrics_port: int  # 0: any free port
    metrics_host: str
    log_level: str
    log_format: str = "auto"  # `karma.telemetry.logging` knows the levels and the formats
    supervisor_pid: int | None = None  # set by `karma up` for its workers, which stop when it is gone
    page_host: str = "127.0.0.1"
    page_port: int = 8080  # 0: any free port
    signing_key: str | None = field(default=None, repr=False)  # the secret; None: that of the home, if it has one
    signing_keys: str | None = field(default=None, repr=False)  # of some channels only (`karma keys`)
    database_password: str | None = field(default=None, repr=False)
    source_redis_url: str | None = field(default=None, repr=False)  # with streams of prompts; None: KARMA's own Redis

    @classmethod
    def read(cls, variables: Mapping[str, str] | None = None) -> Environment:
        """Read the variables.

        Raises:
            SettingsError: an unknown or malformed variable.
        """
        given = with_files(os.environ if variables is None else variables)
        for name in given:
            if name.startswith("KARMA_") and not name.startswith("KARMA_TEST_") and name not in _ENVIRONMENT:
                hint = did_you_mean(name, _ENVIRONMENT)
                raise SettingsError(f"environment: {name} is no setting of KARMA{hint}")
        home = Path(given.get("KARMA_HOME", ".karma")).resolve()
        supervisor = given.get("KARMA_SUPERVISOR_PID", "")
        durability = given.get("KARMA_DURABILITY", "normal")
        if durability not in ("normal", "full"):
            raise SettingsError(f"environment: KARMA_DURABILITY is {durability!r}, expected 'normal' or 'full'")
        return cls(
            home=home,
            pool_path=Path(given.get("KARMA_POOL", "pool.toml")).resolve(),
            redis_url=_redis_url(given),
            database_url=given.get("KARMA_DATABASE_URL", sqlite_url(home / "karma.db")),
            durability="full" if durability == "full" else "normal",
            metrics_port=_port(given, "KARMA_METRICS_PORT", 0),
            metrics_host=given.get("KARMA_METRICS_HOST", "127.0.0.1"),
            log_level=given.get("KARMA_LOG_LEVEL", "INFO").upper(),
            log_format=given.get("KARMA_LOG_FORMAT", "auto").lower(),
            supervisor_pid=int(supervisor) if supervisor.isdigit() else None,
            page_host=given.get("KARMA_PAGE_HOST", "127.0.0.1"),
            page_port=_port(given, "KARMA_PAGE_PORT", 8080),
            signing_key=given.get("KARMA_SIGNING_KEY") or None,
            signing_keys=given.get("KARMA_SIGNING_KEYS") or None,
            database_password=given.get("KARMA_DATABASE_PASSWORD") or None,
            source_redis_url=given.get("KARMA_SOURCE_REDIS_URL") or None,
        )

    @property
    def database(self) -> DatabaseAddress:
        """The address of the database, with its password."""
        return DatabaseAddress(self.database_url, self.database_password)

    @property
    def signing_key_path(self) -> Path:
        """The file with the secret that `karma up` made for this home."""
        return self.home / "signing.key"

    def keyring(self) -> Keyring:
        """The keys of `KARMA_SIGNING_KEYS`, else all keys of `KARMA_SIGNING_KEY` or of the home's secret; else none.

        Raises:
            SettingsError: they are malformed, or the file cannot be read.
        """
        if self.signing_keys is not None:
            return Keyring.read(None, self.signing_keys)
        if self.signing_key is not None:
            return Keyring.read(self.signing_key)
        try:
            return Keyring.read(self.signing_key_path.read_text())
        except (FileNotFoundError, NotADirectoryError):
            return Keyring.read(None)
        except OSError as cause:
            raise SettingsError(f"the signing key cannot be read: {self.signing_key_path}: {cause.strerror}") from cause

    def broker_url(self) -> str:
        """The URL of Redis: `KARMA_REDIS_URL`, or that of the embedded Redis of this `KARMA_HOME`.

        Raises:
            SettingsError: neither exists.
        """
        if self.redis_url:
            return self.redis_url
        written = self.home / "run" / "redis.url"
        if not written.exists():
            raise SettingsError(
                f"no Redis: KARMA_REDIS_URL is not set and no `karma up` runs in {self.home}. "
                "Start one with `karma up`, or set KARMA_REDIS_URL."
            )
        try:
            return written.read_text().strip()
        except OSError as cause:
            raise SettingsError(f"the address of Redis cannot be read: {written}: {cause.strerror}") from cause


def with_files(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables, with the secrets that files hold: `KARMA_REDIS_PASSWORD_FILE` names the file of one.

    A file holds the value, or the line `NAME=value` as `karma keys` prints it.

    Raises:
        SettingsError: a file cannot be read, or the variable itself is set, too.
    """
    found = dict(variables)
    for name in SECRETS:
        if not (path := found.pop(f"{name}_FILE", "")):
            continue
        if found.get(name):
            raise SettingsError(f"environment: {name} and {name}_FILE are both set; set one of them")
        try:
            found[name] = Path(path).read_text().removesuffix("\n").removeprefix(f"{name}=")
        except (OSError, UnicodeError) as cause:
            why = cause.strerror if isinstance(cause, OSError) else "it is no text"
            raise SettingsError(f"environment: {name}_FILE is {path!r}, which cannot be read: {why}") from None
    return found


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file; in a URL, `%` begins an escape and `?` the options."""
    return "sqlite:///" + str(path).replace("%", "%25").replace("?", "%3F")


def _redis_url(given: Mapping[str, str]) -> str | None:
    user, password = given.get("KARMA_REDIS_USER"), given.get("KARMA_REDIS_PASSWORD")
    if not (url := given.get("KARMA_REDIS_URL")):
        if user or password:
            raise SettingsError(
                "environment: KARMA_REDIS_USER or KARMA_REDIS_PASSWORD is set, and KARMA_REDIS_URL is not: "
                "the embedded Redis has a password of its own"
            )
        return None
    joined = with_credentials(url, user, password)
    RedisAddress.parse(joined)
    return joined


def _port(given: Mapping[str, str], name: str, default: int) -> int:
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdigit()) or int(text) > 65535:
        raise SettingsError(f"environment: {name} is {text!r}, expected a port from 0 to 65535")
    return int(text)
