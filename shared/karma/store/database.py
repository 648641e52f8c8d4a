"""The store: connections, transactions and migrations."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import Any, Literal

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from karma.config.database_address import DatabaseAddress
from karma.errors import NewerSchemaError, SchemaError, StoreError, StoreOutageError
from karma.store import driver, location
from karma.store.database_errors import first_line, is_missing_table, is_outage, is_schema_error
from karma.store.judge_budgets import JudgeBudgets
from karma.store.ledger import Ledger
from karma.store.preferences import Preferences
from karma.store.revision import mismatch
from karma.store.schema import REVISION, metadata
from karma.store.spending import Spending
from karma.store.work import WorkList

_BUSY_TIMEOUT_MS = 60_000

#: Seconds after which a transaction is taken to hang on a dead connection; a healthy one takes milliseconds.
_OVERDUE_S = 8.0

#: Seconds that counting a table of a hundred million rows may take.
COUNTING_S = 600.0
#: Milliseconds after which PostgreSQL ends a transaction whose client is frozen or gone, and frees its locks.
_ABANDONED_MS = 15_000
_WATCH_EVERY_S = 2.0


@dataclass(frozen=True)
class Transaction:
    """One transaction: consistent views of the ledger, open work, preferences, judge budgets and spending."""

    ledger: Ledger
    work: WorkList
    preferences: Preferences
    judge_budgets: JudgeBudgets
    spending: Spending


class Store:
    """The database that holds prompts, open work and preferences.

    Args:
        url: `sqlite:///PATH`, `sqlite://` (in memory, for unit tests) or `postgresql://…`; with the password where that
            is a variable of its own.
        durability: `full` where a commit acknowledges prompts to a user; `normal` elsewhere, where a power cut may
            lose the last commits and their work is done again. Only SQLite distinguishes the two.
        clock: seconds since 1970.
        read_only: write nothing, not even SQLite's own files.
        service: who uses it, as PostgreSQL lists its connections.
    """

    def __init__(
        self,
        url: str | DatabaseAddress,
        durability: Literal["normal", "full"] = "normal",
        clock: Callable[[], float] = time.time,
        read_only: bool = False,
        service: str = "cli",
    ) -> None:
        parsed = location.parse(url)
        self.clock = clock
        self.shown_url = location.shown(parsed)
        self._file = location.sqlite_file(parsed)
        self._read_only = read_only
        # The text of a database error must not hold the statement's parameters: they are prompts and responses.
        options: dict[str, Any] = {"hide_parameters": True}
        if parsed.get_backend_name() == "sqlite":
            if self._file is None:
                options["poolclass"] = StaticPool
            elif read_only:
                options["creator"] = partial(location.connect_read_only, self._file)
            else:
                location.make_folder(self._file)
            options["connect_args"] = {"check_same_thread": False, "isolation_level": None}
        else:
            parsed = parsed.set(drivername="postgresql+psycopg")
            logging.getLogger("psycopg").setLevel(logging.ERROR)  # it warns of errors that it raises as well
            options["connect_args"] = {
                "fallback_application_name": f"karma:{service}",  # unless the URL names one
                "connect_timeout": 5,
                "tcp_user_timeout": 8000,  # ms: a network that drops every packet
                "keepalives_idle": 5,
                "keepalives_interval": 2,
                "keepalives_count": 2,
                "options": f"-c idle_in_transaction_session_timeout={_ABANDONED_MS}",
            }
        self._closed = threading.Event()
        self._open: dict[int, tuple[float, Connection]] = {}  # thread → deadline of its transaction, connection
        self.engine: Engine = create_engine(parsed, **options)
        if self.engine.dialect.name == "sqlite":
            _listen_sqlite(self.engine, None if read_only else durability)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A transaction that may write. Commits on leaving, rolls back on an exception.

        Raises:
            StoreOutageError: the database is unreachable, locked or full. Where only the commit's reply was lost, the
                commit may have happened: whoever retries must check, as every stage does.
            SchemaError: the database's tables, or this user's rights, are not what this version needs.
        """
        with self._connected(_OVERDUE_S, karma_writes=True) as connection:
            yield (transaction := self._bound(connection))
            transaction.spending.write()

    @contextmanager
    def reading(self, limit_s: float = _OVERDUE_S) -> Iterator[Transaction]:
        """A transaction that reads one consistent snapshot; it waits for no writer and blocks none.

        Args:
            limit_s: seconds until `watch` cuts its connection as dead.

        Raises:
            StoreOutageError, SchemaError: as for `transaction`.
        """
        # SQLite reads a snapshot anyway; PostgreSQL's default takes a new one for each statement.
        options = {"isolation_level": "REPEATABLE READ"} if self.engine.dialect.name == "postgresql" else {}
        with self._connected(limit_s, karma_writes=False, **options) as connection:
            yield self._bound(connection)

    @contextmanager
    def _connected(self, limit_s: float, **options: Any) -> Iterator[Connection]:
        try:
            with self._connection(limit_s, **options) as connection:
                yield connection
        except DBAPIError as cause:
            error = self._error(cause)
            if error is None:
                raise
            raise error from cause

    @contextmanager
    def _connection(self, limit_s: float, **options: Any) -> Iterator[Connection]:
        thread = threading.get_ident()
        try:
            with self.engine.connect().execution_options(**options) as connection:
                self._open[thread] = (time.monotonic() + limit_s, connection)
                with connection.begin():
                    yield connection
        finally:
            self._open.pop(thread, None)

    def _error(self, cause: DBAPIError) -> StoreError | None:
        """The error that can be waited out; None where a statement or its data is wrong, which waiting never cures."""
        if is_outage(cause):
            return StoreOutageError(f"the store {self.shown_url} cannot be used now: {self._words(cause)}")
        # A constraint may also fail because a migration added it under a running process.
        if wrong := mismatch(self.revision(), self.shown_url):
            return SchemaError(f"{wrong} ({first_line(cause)})")
        if is_schema_error(cause):
            return SchemaError(
                f"the store {self.shown_url} is at the right revision and yet refuses: {first_line(cause)}; "
                "restore its tables, or grant this user its rights"
            )
        return None

    def _words(self, cause: DBAPIError) -> str:
        """The database's own words, and whose file it is where this user may not use it."""
        return first_line(cause) + location.refusal(self._file, self._read_only)

    def watch(self, on_mismatch: Callable[[StoreError], object] = lambda _error: None) -> None:
        """Check the store every two seconds from daemon threads.

        One thread reads the schema's revision: it calls `on_mismatch` where that is not this version's, and finds a
        dead connection to PostgreSQL while the process is idle. Another cuts connections to PostgreSQL whose
        transactions hang, as libpq would wait for an answer forever.
        """

        def check() -> None:
            if error := mismatch(self.revision(), self.shown_url):
                on_mismatch(error)

        checks = [check, self._cut_overdue] if self.engine.dialect.name == "postgresql" else [check]
        for each in checks:
            threading.Thread(target=self._repeat, args=(each,), name="store", daemon=True).start()

    def _repeat(self, check: Callable[[], None]) -> None:
        while not self._closed.wait(_WATCH_EVERY_S):
            with suppress(StoreOutageError):  # whoever uses the store gets the error too
                check()

    def _cut_overdue(self) -> None:
        for deadline, connection in list(self._open.values()):
            if time.monotonic() > deadline:
                with suppress(Exception):  # the transaction has ended since
                    raw: Any = connection.connection.driver_connection
                    with socket.socket(fileno=os.dup(raw.fileno())) as wire:
                        wire.shutdown(socket.SHUT_RDWR)

    def revision(self) -> str | None:
        """The revision of the schema; None where there are no tables yet.

        Raises:
            StoreOutageError, SchemaError: the database cannot be asked now, or not by this user.
            StoreError: it is no database.
        """
        try:
            with self._connection(_OVERDUE_S, karma_writes=False) as connection:
                return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        except DBAPIError as cause:
            if is_missing_table(cause):
                return None
            error = SchemaError if is_schema_error(cause) else StoreOutageError if is_outage(cause) else StoreError
            raise error(f"the store {self.shown_url} cannot be opened: {self._words(cause)}") from cause

    def require_schema(self) -> None:
        """Return where the schema is the one of this version.

        Raises:
            NewerSchemaError: a newer version migrated the store.
            StoreOutageError, SchemaError: not now; it can be waited for.
        """
        if error := mismatch(self.revision(), self.shown_url):
            raise error

    def migrate(self, revision: str = REVISION) -> None:
        """Bring the schema to this version's revision, or to an earlier one; harmless where it is there.

        Raises:
            NewerSchemaError: a newer version migrated the store.
            StoreError: the database cannot be opened or written.
        """
        found = self.revision()
        if found == revision:
            return
        if isinstance(error := mismatch(found, self.shown_url), NewerSchemaError):
            raise error
        from alembic import command
        from alembic.config import Config

        config = Config()
        folder = str(files("karma.store") / "migrations")
        config.set_main_option("script_location", folder.replace("%", "%%"))  # a `%` begins an interpolation
        try:
            with self.engine.connect().execution_options(karma_writes=True) as connection, connection.begin():
                if connection.dialect.name == "postgresql":
                    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7305421)")
                config.attributes["connection"] = connection
                command.upgrade(config, revision)
        except DBAPIError as cause:
            kind = StoreOutageError if is_outage(cause) else StoreError
            raise kind(f"the store {self.shown_url} cannot be migrated: {self._words(cause)}") from cause

    def create(self) -> None:
        """Create the schema without migrations; for unit tests in memory."""
        metadata.create_all(self.engine)
        with self.engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE alembic_version (version_num TEXT NOT NULL)")
            connection.execute(text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": REVISION})

    def close(self) -> None:
        """Close every connection."""
        self._closed.set()
        self.engine.dispose()

    def _bound(self, connection: Connection) -> Transaction:
        now = self.clock()
        spending = Spending(connection, now)
        preferences = Preferences(connection, now, spending)
        return Transaction(
            Ledger(connection, now), WorkList(connection, now), preferences, JudgeBudgets(connection), spending
        )


def _listen_sqlite(engine: Engine, durability: str | None) -> None:
    """Configure each connection; `durability` is None where nothing is written."""

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        if durability is not None:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {durability.upper()}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA cache_size = -65536")
        # SQLite's own lower() handles ASCII letters only.
        connection.create_function("lower", 1, lambda text: text and str(text).lower(), deterministic=True)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A writer takes the write lock at once: upgrading a read lock later fails with "database is locked".
        writes = connection.get_execution_options().get("karma_writes", True)
        driver.run(connection, "BEGIN IMMEDIATE" if writes else "BEGIN")
