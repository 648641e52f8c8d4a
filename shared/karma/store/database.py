"""Opening the store, its transactions and its migrations."""

from __future__ import annotations

import os
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.pool import StaticPool

from karma.config.environment import Durability
from karma.errors import SettingsError, StoreError, StoreOutageError
from karma.store.judge_budgets import JudgeBudgets
from karma.store.ledger import Ledger
from karma.store.preferences import Preferences
from karma.store.schema import REVISION, metadata
from karma.store.work import WorkList

_BUSY_TIMEOUT_MS = 60_000

#: A transaction that takes longer hangs on a connection whose other end is gone; a healthy one takes milliseconds.
_OVERDUE_S = 8.0

#: What counting a table of a hundred million rows may take.
COUNTING_S = 600.0

_ABANDONED_MS = 15_000
_WATCH_EVERY_S = 2.0

#: SQLite's primary result codes that say "not now" and not "never".
_SQLITE_OUTAGES = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_NOMEM,
}


@dataclass(frozen=True)
class Transaction:
    """One transaction: the ledger, the open work, the preferences and the gates of the same moment."""

    ledger: Ledger
    work: WorkList
    preferences: Preferences
    judge_budgets: JudgeBudgets


class Store:
    """A database of preferences.

    Args:
        url: `sqlite:///PATH`, `sqlite://` (in memory, for unit tests) or `postgresql://…`.
        durability: `full` where a commit is a promise to somebody (the front door); `normal` inside, where the tail
            that a power cut may take is work that is simply done again. Only SQLite tells the two apart.
        clock: seconds since 1970.
    """

    def __init__(self, url: str, durability: Durability = "normal", clock: Callable[[], float] = time.time) -> None:
        try:
            parsed = make_url(url)
        except ArgumentError as cause:
            raise SettingsError(
                "KARMA_DATABASE_URL is no database URL; expected sqlite:///PATH or postgresql://…"
            ) from cause
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise SettingsError(f"the database is {parsed.get_backend_name()!r}; KARMA knows sqlite and postgresql")
        self.clock = clock
        self.shown_url = parsed.render_as_string(hide_password=True)
        self._memory = parsed.get_backend_name() == "sqlite" and not parsed.database
        # A database error repeats the statement, never its parameters: they hold prompts and responses.
        options: dict[str, Any] = {"hide_parameters": True}
        if parsed.get_backend_name() == "sqlite":
            if parsed.database:
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            options["connect_args"] = {"check_same_thread": False, "isolation_level": None}
            if self._memory:
                options["poolclass"] = StaticPool
        else:
            parsed = parsed.set(drivername="postgresql+psycopg")
            # A worker that is frozen, or gone without a word, in mid-transaction keeps its locks no longer than this.
            options["connect_args"] = {
                "connect_timeout": 5,
                "tcp_user_timeout": 8000,  # ms: a network that swallows everything
                "keepalives_idle": 5,
                "keepalives_interval": 2,
                "keepalives_count": 2,
                "options": f"-c idle_in_transaction_session_timeout={_ABANDONED_MS}",
            }
        self._closed = threading.Event()
        self._under_way: dict[int, tuple[float, Connection]] = {}  # thread → until when, what
        self.engine: Engine = create_engine(parsed, **options)
        if self.engine.dialect.name == "sqlite":
            _listen_sqlite(self.engine, durability)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A transaction that may write. Commits on leaving, rolls back on an exception.

        Raises:
            StoreOutageError: the database is away, locked or full. Where the commit's answer was lost, it may have
                happened all the same: what is done again must find that out, as every stage does.
        """
        with self._connected(_OVERDUE_S, karma_writes=True) as connection:
            yield self._bound(connection)

    @contextmanager
    def reading(self, limit_s: float = _OVERDUE_S) -> Iterator[Transaction]:
        """A transaction that only reads, all of it of one moment: it waits for no writer and blocks none.

        Args:
            limit_s: what it may take until its connection is given up as dead, where `watch` sees to that.

        Raises:
            StoreOutageError: the database is away.
        """
        # SQLite reads of one moment anyway; PostgreSQL would read each statement of a moment of its own.
        options = {"isolation_level": "REPEATABLE READ"} if self.engine.dialect.name == "postgresql" else {}
        with self._connected(limit_s, karma_writes=False, **options) as connection:
            yield self._bound(connection)

    @contextmanager
    def _connected(self, limit_s: float, **options: Any) -> Iterator[Connection]:
        thread = threading.get_ident()
        try:
            with self.engine.connect().execution_options(**options) as connection:
                self._under_way[thread] = (time.monotonic() + limit_s, connection)
                with connection.begin():
                    yield connection
        except DBAPIError as cause:
            if not _is_outage(cause):
                raise
            said = str(cause.orig).strip().partition("\n")[0]
            raise StoreOutageError(f"the store {self.shown_url} cannot be used now: {said}") from cause
        finally:
            self._under_way.pop(thread, None)

    def watch(self) -> None:
        """See every two seconds to connections to PostgreSQL whose other end vanished, from threads of their own.

        libpq waits for an answer for ever. One thread cuts connections whose transactions hang, so that their threads
        find out; another asks something harmless, so that an idle process finds out as early as a busy one.
        """
        if self.engine.dialect.name == "postgresql":
            for look in (self._cut_overdue, self._ask):
                threading.Thread(target=self._again_and_again, args=(look,), name="store", daemon=True).start()

    def _again_and_again(self, look: Callable[[], None]) -> None:
        while not self._closed.wait(_WATCH_EVERY_S):
            with suppress(StoreOutageError):  # whoever needs the store is told
                look()

    def _ask(self) -> None:
        with self.reading() as transaction:
            transaction.ledger.connection.exec_driver_sql("SELECT 1")

    def _cut_overdue(self) -> None:
        for deadline, connection in list(self._under_way.values()):
            if time.monotonic() > deadline:
                with suppress(Exception):  # it ended meanwhile
                    raw: Any = connection.connection.driver_connection
                    with socket.socket(fileno=os.dup(raw.fileno())) as wire:
                        wire.shutdown(socket.SHUT_RDWR)

    def migrate(self, revision: str = REVISION) -> None:
        """Bring the database to this version's schema, or up to an earlier revision; harmless where it is there.

        Raises:
            StoreError: it cannot be opened, or was written by a newer version.
        """
        if self._revision() == revision:
            return
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError

        config = Config()
        config.set_main_option("script_location", str(files("karma.store") / "migrations"))
        try:
            with self.engine.connect().execution_options(karma_writes=True) as connection, connection.begin():
                if connection.dialect.name == "postgresql":
                    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7305421)")
                config.attributes["connection"] = connection
                command.upgrade(config, revision)
        except OperationalError as cause:
            kind = StoreOutageError if _is_outage(cause) else StoreError
            raise kind(f"the store {self.shown_url} cannot be opened: {cause.orig}") from cause
        except CommandError as cause:
            raise StoreError(f"the store {self.shown_url} was written by another version of KARMA: {cause}") from cause

    def _revision(self) -> str | None:
        """The revision that the store is at; None where it has none yet, or cannot be asked."""
        try:
            with self.engine.connect().execution_options(karma_writes=False) as connection:
                return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        except DBAPIError:
            return None

    def create(self) -> None:
        """Create the schema without migrations; for unit tests in memory."""
        metadata.create_all(self.engine)

    def close(self) -> None:
        """Close every connection."""
        self._closed.set()
        self.engine.dispose()

    def _bound(self, connection: Connection) -> Transaction:
        now = self.clock()
        return Transaction(
            Ledger(connection, now), WorkList(connection, now), Preferences(connection, now), JudgeBudgets(connection)
        )


def _is_outage(cause: DBAPIError) -> bool:
    """Whether the database may do at another time what it did not do now."""
    if isinstance(cause.orig, sqlite3.Error):
        return getattr(cause.orig, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF in _SQLITE_OUTAGES
    return cause.connection_invalidated or isinstance(cause, OperationalError)


def _listen_sqlite(engine: Engine, durability: str) -> None:
    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {durability.upper()}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA cache_size = -65536")
        # SQLite's own knows the letters of ASCII only.
        connection.create_function("lower", 1, lambda text: text and str(text).lower(), deterministic=True)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A writer takes its place at once: upgrading a read lock later is what "database is locked" comes from.
        writes = connection.get_execution_options().get("karma_writes", True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
