"""Statements that run through the driver do on each database what SQLAlchemy's would do."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import bindparam, select, text
from sqlalchemy.exc import IntegrityError

from karma.errors import SchemaError, StoreOutageError
from karma.store import Store
from karma.store.bulk import Insert, Update
from karma.store.schema import competency_counts, pairs, prompts, responses, streams, work_items
from karma.store.statements import Query, among
from tests.support.stores import sqlite_file

ODD = "a\"b\\c{},NULL \n é 😀 ' % %s ?"
COLUMNS = ("stream", "prompt_id", "content_hash", "messages", "skill", "priority", "state", "awaited", "accepted_at")
ADD = Insert(prompts, COLUMNS, returning=("prompt_id",))


def _row(name: str, skill: str | None = None, at: float = 1e-9) -> tuple[object, ...]:
    return ("s", name, ODD, "[]", skill, 0, "accepted", 0, at)


def _add(store: Store, *names: str) -> list[str]:
    with store.transaction() as transaction:
        transaction.ledger.add_stream("s")
        return sorted(name for (name,) in ADD.new(transaction.ledger.connection, [_row(name) for name in names]))


def test_a_query_takes_lists_and_constants_in_the_order_of_its_names(store: Store) -> None:
    """Ids are given twice, in any order and as any iterable."""
    _add(store, ODD, "p1", "p2")
    columns = select(prompts.c.prompt_id).where(prompts.c.state == "accepted", among(prompts.c.prompt_id, "ids"))
    query = Query(columns.where(prompts.c.stream == bindparam("stream")).order_by(prompts.c.id), "stream", "ids")
    with store.reading() as transaction:
        connection = transaction.ledger.connection
        assert query.rows(connection, "s", (name for name in ["p2", ODD, "p2"])) == [(ODD,), ("p2",)]
        assert query.rows(connection, "other", ["p2"]) == []
        assert query.rows(connection, "s", []) == []


def test_a_list_is_looked_up_in_an_index(tmp_path: Path) -> None:
    """SQLite names the tables that it reads from end to end."""
    store = Store(sqlite_file(tmp_path / "karma.db"))
    store.migrate()
    plans = []
    for column in (prompts.c.id, work_items.c.id, work_items.c.batch, pairs.c.prompt, responses.c.prompt):
        query = Query(select(column).where(among(column, "values")).order_by(column.table.c.id), "values")
        with store.reading() as transaction:
            query.rows(transaction.ledger.connection, [1])
            (compiled,) = query._compiled.values()
            explained = f"EXPLAIN QUERY PLAN {compiled.text}"
            plans += transaction.ledger.connection.exec_driver_sql(explained, ("[1]",)).all()
    store.close()
    assert [row.detail for row in plans if row.detail.startswith("SCAN") and "json_each" not in row.detail] == []


def test_an_insert_returns_the_new_rows_only(store: Store) -> None:
    """All are new, some are, none is; more than one chunk."""
    names = [f"p{number:04}" for number in range(1100)]
    assert _add(store, *names) == names
    assert _add(store, "p0001", ODD) == [ODD]
    assert _add(store, "p0001") == []
    with store.reading() as transaction:
        found = transaction.ledger.connection.execute(select(prompts.c.content_hash, prompts.c.accepted_at).distinct())
        assert found.all() == [(ODD, 1e-9)]


def test_an_insert_returns_the_ids_of_the_new_rows(store: Store) -> None:
    """The column `id` is not among the given ones."""
    _add(store, "p1")
    insert = Insert(prompts, COLUMNS, returning=("id", "prompt_id"))
    with store.transaction() as transaction:
        connection = transaction.ledger.connection
        found = insert.new(connection, [_row("p1"), _row("p2", skill="null"), _row("p3")])
        stored = connection.execute(select(prompts.c.id, prompts.c.prompt_id, prompts.c.skill).order_by(prompts.c.id))
        assert [(*row, skill) for row, skill in zip(sorted(found), ("null", None), strict=True)] == stored.all()[1:]


def test_an_adding_insert_adds_to_the_row_with_its_key(store: Store) -> None:
    """Other columns keep their values."""
    add = Insert(competency_counts, [column.name for column in competency_counts.c], adding=("wins_a", "ties"))
    with store.transaction() as transaction:
        for _time in range(2):
            add.run(transaction.ledger.connection, [("h", "", "a", "b", 1, 1.5, 2.0, 0.25, 0.5)])
        assert [tuple(count) for count in transaction.preferences.counts()] == [("h", "", "a", "b", 1, 3, 2, 0.5, 0.5)]


def test_an_update_sets_each_row_to_its_own_values(store: Store) -> None:
    """Nulls and texts among them; a key without a row changes nothing."""
    _add(store, "p1", "p2", "p3")
    update = Update(prompts, "state", "awaited", "skill", "prompt_id")
    with store.transaction() as transaction:
        connection = transaction.ledger.connection
        update.run(connection, [("done", 0, None, "p1"), ("dead", 3, ODD, "p3"), ("dead", 3, ODD, "p4")])
        rows = connection.execute(select(prompts.c.state, prompts.c.awaited, prompts.c.skill).order_by(prompts.c.id))
        assert rows.all() == [("done", 0, None), ("accepted", 0, None), ("dead", 3, ODD)]


def test_an_error_of_the_driver_is_the_stores_and_holds_no_text(store: Store) -> None:
    """A constraint is violated; then a table is missing."""
    _add(store, "p1")
    with pytest.raises(IntegrityError) as wrong, store.transaction() as transaction:
        ADD.run(transaction.ledger.connection, [("nowhere", "secret", None, "[]", None, 0, "accepted", 0, 1.0)])
    assert "secret" not in str(wrong.value).partition("\n")[0]
    missing = Query(select(text("1")).select_from(text("nowhere")))
    with pytest.raises(SchemaError, match="nowhere"), store.reading() as transaction:
        missing.rows(transaction.ledger.connection)
    assert _add(store, "p2") == ["p2"]


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_a_connection_that_the_database_ends_is_an_outage_and_replaced(store: Store) -> None:
    """The next transaction gets another one."""
    query = Query(select(streams.c.name))

    def read_after_it_ended() -> None:
        with store.transaction() as transaction, store.engine.connect() as other:
            connection = transaction.ledger.connection
            ended = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            other.exec_driver_sql(f"SELECT pg_terminate_backend({ended}, 5000)")
            query.rows(connection)

    with pytest.raises(StoreOutageError):
        read_after_it_ended()
    assert _add(store, "p1") == ["p1"]
