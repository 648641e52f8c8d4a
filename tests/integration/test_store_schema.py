"""A store whose schema or rights do not fit: which errors are waited out, which are bugs, who notices a migration."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from karma.errors import KarmaError, NewerSchemaError, OutageError, SchemaError, StoreError
from karma.store import Store, database
from karma.store.schema import REVISION
from tests.support.pipeline import wait_until

WRONG_SCHEMA = {
    "a missing table": "SELECT * FROM nowhere",
    "a missing column": "SELECT absent FROM streams",
    "a missing column of an insert": "INSERT INTO streams (name, created_at, absent) VALUES ('a', 0, 0)",
    "a missing unique index": "INSERT INTO streams VALUES ('a', 0) ON CONFLICT (created_at) DO NOTHING",
}
WRONG_STATEMENTS = {
    "a syntax error": "SELEKT 1",
    "an ambiguous column": "SELECT created_at FROM streams JOIN batches ON 1 = 1",
    "a constraint": "INSERT INTO streams (name, created_at) VALUES ('a', 0), ('a', 0)",
}


@pytest.fixture
def empty(store: Store) -> Store:
    """The store without any table."""
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE alembic_version")
    return store


def run(store: Store, *statements: str) -> None:
    with store.transaction() as transaction:
        for statement in statements:
            transaction.ledger.connection.exec_driver_sql(statement)


def set_revision(store: Store, revision: str) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{revision}'")


@pytest.mark.parametrize("what", WRONG_SCHEMA)
def test_an_error_of_the_schema_can_be_waited_out(store: Store, what: str) -> None:
    with pytest.raises(SchemaError, match="is at the right revision and yet refuses"):
        run(store, WRONG_SCHEMA[what])
    assert issubclass(SchemaError, OutageError)


@pytest.mark.parametrize("what", WRONG_STATEMENTS)
def test_an_error_of_a_statement_or_its_data_is_not_waited_for(store: Store, what: str) -> None:
    """Waiting never cures it: it fails as what it is, is logged with its traceback, and ends after its attempts."""
    with pytest.raises(DBAPIError):
        run(store, WRONG_STATEMENTS[what])


@pytest.mark.parametrize("what", WRONG_STATEMENTS)
def test_at_another_revision_any_refused_statement_is_the_schemas_fault(store: Store, what: str) -> None:
    """A migration may have added the constraint, or changed what a name means."""
    set_revision(store, "9999")
    with pytest.raises(SchemaError, match="9999"):
        run(store, WRONG_STATEMENTS[what])


def test_a_session_that_may_only_read_can_be_waited_out(store: Store) -> None:
    is_sqlite = store.engine.dialect.name == "sqlite"
    read_only = "PRAGMA query_only = 1" if is_sqlite else "SET TRANSACTION READ ONLY"
    with pytest.raises(SchemaError, match=r"read.?only"):
        run(store, read_only, "INSERT INTO streams (name, created_at) VALUES ('a', 0)")


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_a_right_that_is_missing_can_be_waited_out(store: Store) -> None:
    role = ("CREATE ROLE reader", "GRANT USAGE ON SCHEMA public TO reader", "SET LOCAL ROLE reader")
    with pytest.raises(SchemaError, match="permission denied for table streams"):
        run(store, *role, "SELECT * FROM streams")


def test_a_store_without_tables_an_older_and_a_newer_one_each_say_what_to_do(empty: Store) -> None:
    assert empty.revision() is None
    with pytest.raises(SchemaError, match="has no tables yet; a gateway of this version creates them"):
        empty.require_schema()
    with empty.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num TEXT)")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('0001')")
    with pytest.raises(SchemaError, match=f"is at revision 0001, this version needs {REVISION}; a gateway"):
        empty.require_schema()
    set_revision(empty, "9999")
    with pytest.raises(NewerSchemaError, match=f"is at revision 9999, newer than this version's {REVISION}; run the"):
        empty.require_schema()
    with pytest.raises(NewerSchemaError):
        empty.migrate()
    set_revision(empty, REVISION)
    empty.require_schema()


def test_a_running_process_hears_of_a_migration_within_seconds(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_WATCH_EVERY_S", 0.05)
    heard: list[StoreError] = []
    store.watch(heard.append)
    with store.reading() as transaction:
        transaction.ledger.count_states()
    assert heard == []
    set_revision(store, "9999")
    wait_until(lambda: heard, 10, "the migration is noticed")
    assert isinstance(heard[0], NewerSchemaError)


def test_a_file_that_is_no_database_cannot_be_opened_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "karma.db"
    path.write_bytes(b"This is a letter and no database. " * 100)
    for action in (Store.revision, Store.migrate):
        store = Store(f"sqlite:///{path}")
        with pytest.raises(KarmaError, match="cannot be opened: file is not a database") as error:
            action(store)
        assert not isinstance(error.value, OutageError)
        store.close()
