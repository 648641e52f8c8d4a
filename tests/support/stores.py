"""Empty stores at this version's schema, without running its migrations for every test."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from karma.store import Store
from karma.store.database import REVISION
from karma.store.schema import metadata


def memory() -> Store:
    """An empty store in memory, with the schema as the code has it."""
    store = Store("sqlite://")
    _file_of(store).deserialize(_created())
    return store


def emptied_memory() -> Store:
    """A store in memory that every call empties and gives again: its statements are compiled once. Not to be closed."""
    store = _shared()
    _file_of(store).deserialize(_created())
    return store


@cache
def _shared() -> Store:
    return Store("sqlite://")


@cache
def _created() -> bytes:
    store = Store("sqlite://")
    store.create()
    try:
        return bytes(_file_of(store).serialize())
    finally:
        store.close()


def _file_of(store: Store) -> Any:
    """SQLite's own connection to a store in memory."""
    return store.engine.raw_connection().driver_connection


def sqlite_file(path: Path) -> str:
    """The URL of an empty SQLite store: a copy of one that this process has migrated."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_migrated(), path)
    return f"sqlite:///{path}"


@cache
def _migrated() -> Path:
    path = Path(tempfile.mkdtemp(prefix="karma-store-")) / "karma.db"
    store = Store(f"sqlite:///{path}")
    store.migrate()
    store.close()
    return path


def emptied(url: str) -> Store:
    """The store at a PostgreSQL URL, empty: its tables are emptied where they are this version's, else made anew."""
    store = Store(url)
    names = {table.name for table in metadata.sorted_tables}
    with store.engine.connect() as connection, connection.begin():
        found = set(connection.exec_driver_sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").scalars())
        revision = (
            connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
            if "alembic_version" in found
            else None
        )
        if (found, revision) == (names | {"alembic_version"}, REVISION):
            connection.exec_driver_sql(f"TRUNCATE {', '.join(sorted(names))} RESTART IDENTITY CASCADE")
        else:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
    store.migrate()
    return store
