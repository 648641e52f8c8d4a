"""Where a store lies: its URL, and for SQLite its file and what this user may do with it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from karma.errors import SettingsError, StoreError


def parse(url: str) -> URL:
    """The URL of a database that KARMA knows; `postgres://`, as many providers write it, is `postgresql://`.

    Raises:
        SettingsError: it is no such URL. The error repeats no part of it, which may be a password.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise SettingsError(
            "KARMA_DATABASE_URL is no database URL; expected sqlite:///PATH or postgresql://…"
        ) from None
    if parsed.drivername == "postgres":
        parsed = parsed.set(drivername="postgresql")
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise SettingsError(f"the database is {parsed.get_backend_name()!r}; KARMA knows sqlite and postgresql")
    return parsed


def shown(url: URL) -> str:
    """The URL as errors show it: without a password, and the path of a file as it is."""
    return f"sqlite:///{url.database}" if sqlite_file(url) else url.render_as_string(hide_password=True)


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
