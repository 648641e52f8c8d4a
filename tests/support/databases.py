"""An empty database of either kind for a whole pipeline of processes."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, text

from karma.store import Store
from tests.support.postgresql import PostgreSQL
from tests.support.stores import sqlite_file


@contextmanager
def database(kind: str, home: Path) -> Iterator[str]:
    """The URL of an empty, migrated database: SQLite in `home`, or a PostgreSQL server of its own."""
    if kind == "sqlite":
        home.mkdir(parents=True, exist_ok=True)
        yield sqlite_file(home / "karma.db")
        return
    with server() as postgresql:
        migrate(postgresql.url)
        yield postgresql.url


@contextmanager
def server(settings: Sequence[str] = ()) -> Iterator[PostgreSQL]:
    """A running PostgreSQL; `settings` are lines of its configuration."""
    folder = Path(tempfile.mkdtemp(prefix="karma-pg-"))
    try:
        postgresql = PostgreSQL(folder, settings=settings)
        postgresql.start()
        try:
            yield postgresql
        finally:
            postgresql.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


_numbers = itertools.count()


@contextmanager
def another_database(postgresql: PostgreSQL) -> Iterator[str]:
    """The URL of an empty database without a schema on a server that runs already, dropped after the block."""
    name = f"another{next(_numbers)}"
    engine = create_engine(
        postgresql.url.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield postgresql.url.removesuffix("postgres") + name
    finally:
        with engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        engine.dispose()


def migrate(url: str) -> None:
    """Bring a database to this version's schema."""
    store = Store(url)
    store.migrate()
    store.close()
