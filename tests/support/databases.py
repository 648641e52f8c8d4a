"""An empty database of either kind for a whole pipeline of processes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

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


def migrate(url: str) -> None:
    """Bring a database to this version's schema."""
    store = Store(url)
    store.migrate()
    store.close()
