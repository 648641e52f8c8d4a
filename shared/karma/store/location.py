"""Where a store lies: its URL, and for SQLite its file and what this user may do with it."""

from __future__ import annotations

import os
import re
import sqlite3
from pathlib import Path
from urllib.parse import quote

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from karma.config.database_address import DatabaseAddress
from karma.errors import SettingsError, StoreError

_EXPECTED = (
    "expected sqlite:///PATH or postgresql://USER:PASSWORD@HOST:PORT/DATABASE; in a password, write @ as %40, "
    "/ as %2F, # as %23, ? as %3F, % as %25, or set it as KARMA_DATABASE_PASSWORD"
)
#: What stands for bytes that are no UTF-8.
_REPLACED = "\N{REPLACEMENT CHARACTER}"
_HOST = re.compile(r"[\w.,:%-]*")


def parse(address: str | DatabaseAddress) -> URL:
    """The URL of a database that KARMA knows; `postgres://`, as many providers write it, is `postgresql://`.

    Raises:
        SettingsError: it is no such URL. The error repeats no part of it, which may be a password.
    """
    if isinstance(address, str):
        address = DatabaseAddress(address)
    try:
        parsed = make_url(address.url)
        backend = parsed.get_backend_name()
    except (ArgumentError, ValueError):
        raise SettingsError(f"KARMA_DATABASE_URL is no database URL; {_EXPECTED}") from None
    if backend == "sqlite":
        if address.password is not None:
            raise SettingsError(
                "environment: KARMA_DATABASE_PASSWORD is set, and the database is a SQLite file, which has none: "
                "set KARMA_DATABASE_URL=postgresql://USER@HOST/DATABASE"
            )
        return parsed
    if backend not in ("postgres", "postgresql"):
        raise SettingsError(f"KARMA_DATABASE_URL is of a database that KARMA does not know; {_EXPECTED}")
    return _with_password(_checked(parsed.set(drivername="postgresql"), address.url), address.password)


def _checked(parsed: URL, text: str) -> URL:
    """The URL of a PostgreSQL server, unless a part of an unescaped password may be in a part that is shown."""
    at = text.count("@")
    if at > 1 or (at and parsed.username is None) or not _HOST.fullmatch(parsed.host or ""):
        raise SettingsError(f"KARMA_DATABASE_URL is no database URL; {_EXPECTED}")
    if any(_REPLACED in (part or "") for part in (parsed.username, parsed.password, parsed.database)):
        raise SettingsError(f"KARMA_DATABASE_URL has a % that begins no escape of UTF-8; {_EXPECTED}")
    if not parsed.query.keys() <= _libpq_options():
        raise SettingsError(
            "KARMA_DATABASE_URL has an option after its ? that PostgreSQL's client does not know (it is not shown); "
            + _EXPECTED
        )
    return parsed


def _with_password(parsed: URL, password: str | None) -> URL:
    """The URL with its password in its place, from the place before the host, from the options, or from a variable."""
    in_options = parsed.query.get("password")
    given = {str(each) for each in (parsed.password, in_options, password) if each}
    if len(given) > 1:
        raise SettingsError(
            "KARMA_DATABASE_URL has another password than KARMA_DATABASE_PASSWORD, or two (they are not shown): "
            "leave one"
        )
    return parsed.difference_update_query(["password"]).set(password=next(iter(given), None))


def _libpq_options() -> set[str]:
    from psycopg.pq import Conninfo

    return {option.keyword.decode() for option in Conninfo.get_defaults()}


def shown(url: URL) -> str:
    """The URL as errors show it: without a password or options, and the path of a file as it is."""
    if sqlite_file(url):
        return f"sqlite:///{url.database}"
    return url.set(query={}).render_as_string(hide_password=True)


def sqlite_file(url: URL) -> Path | None:
    """The file of a SQLite store; None for PostgreSQL and for a store in memory."""
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def make_folder(file: Path) -> None:
    """Make the folder of a file.

    Raises:
        StoreError: this user may not, or the disk is full.
    """
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as cause:
        raise StoreError(f"the folder {file.parent} of the store cannot be made: {cause.strerror}") from cause


def is_missing(file: Path) -> bool:
    """Whether there is no such file, as far as this user may know."""
    try:
        return not file.exists()
    except PermissionError:
        return False


def is_writable(file: Path) -> bool:
    """Whether this user may write a SQLite file; SQLite also makes files beside it."""
    return os.access(file, os.W_OK) and os.access(file.parent, os.W_OK | os.X_OK)


def refusal(file: Path | None, read_only: bool = False) -> str:
    """Why this user cannot use a SQLite file, as the end of an error; empty where the file is not to blame."""
    if file is None or is_missing(file.parent):
        return ""
    if not os.access(file.parent, os.X_OK) or (file.exists() and not os.access(file, os.R_OK)):
        return f"; this user may not read {file}{_owner(file)}"
    if read_only or (is_writable(file) if file.exists() else os.access(file.parent, os.W_OK)):
        return ""
    wrong = file if file.exists() and not os.access(file, os.W_OK) else file.parent
    return f"; this user may not write {wrong}{_owner(wrong)}: change its rights, or choose another KARMA_HOME"


def connect_read_only(file: Path) -> sqlite3.Connection:
    """A connection that writes nothing, not even SQLite's own files beside the database."""
    # A process that has the database open keeps a log beside it. Without one, nothing changes while it is read.
    wal = file.with_name(f"{file.name}-wal")
    unused = "" if os.access(wal, os.F_OK) else "&immutable=1"
    uri = f"file:{quote(str(file))}?mode=ro{unused}"
    return sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None)


def _owner(path: Path) -> str:
    try:
        return f", which belongs to {path.owner()}"
    except (OSError, KeyError):
        return ""
