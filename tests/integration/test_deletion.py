"""A deleted stream leaves nothing of its own, others keep all of theirs, and what comes late is dropped."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, inspect, select

from karma.config.derived_streams import Derivation
from karma.errors import KarmaError
from karma.store import Store
from karma.store.deletion import DELETED, data_of, delete_stream, family
from karma.store.deletion_tables import deletions
from karma.store.schema import competency_counts, metadata, pairs, prompts
from karma.store.spending_tables import spending
from karma_gateway.rematch import derive
from karma_scoring.withdrawal import withdrawal
from tests.support.memory import Flow, make_pool
from tests.support.stores import sqlite_file


def rows_of(store: Store) -> dict[str, int]:
    with store.reading() as transaction:
        connection = transaction.ledger.connection
        return {table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in metadata.sorted_tables}  # fmt: skip


def counts_of(store: Store) -> list[Any]:
    with store.reading() as transaction:
        query = select(competency_counts).order_by(*competency_counts.primary_key.columns)
        return [tuple(row) for row in transaction.ledger.connection.execute(query)]


def run(store: Store, flow: Flow, stream: str, count: int) -> None:
    flow.accept(*({"id": f"p{n}", "prompt": f"{stream} {n}"} for n in range(count)), stream=stream)
    flow.dispatcher.admit()
    flow.finish()


def test_nothing_of_a_stream_is_left_and_others_are_as_they_were(store: Store) -> None:
    pool = make_pool("abc")
    flow = Flow(store, pool)
    run(store, flow, "kept", 3)
    before, learned = rows_of(store), counts_of(store)
    run(store, flow, "gone", 7)
    derive(store, Derivation("gone", "random", teaches=True))
    flow.dispatcher.admit()
    flow.finish()
    with store.reading() as transaction:
        names = family(transaction.ledger.connection, "gone")
        found = data_of(transaction.ledger.connection, names)
    assert names == ["gone@random+teach", "gone"]
    assert found.prompts == 14
    assert min(found) > 0
    assert counts_of(store) != learned

    assert sum(sum(delete_stream(store, name, withdrawal(pool))) for name in names) == 14

    after = rows_of(store)
    assert after.pop("deletions") == 2
    assert after.pop("spending") <= before["spending"] * 2  # of deleted streams, without a name
    assert {name: before[name] for name in after} == after
    assert counts_of(store) == pytest.approx(learned)
    with store.reading() as transaction:
        connection = transaction.ledger.connection
        assert set(connection.execute(select(prompts.c.stream)).scalars()) == {"kept"}
        assert set(connection.execute(select(spending.c.stream)).scalars()) <= {"kept", DELETED}
        assert not [
            each["name"] for name in ("pairs", "resolutions") for each in inspect(connection).get_indexes(name)
            if each["name"].endswith("_deletion")
        ]  # fmt: skip


def test_money_of_a_deleted_stream_is_still_spent(store: Store) -> None:
    flow = Flow(store, make_pool("ab"))
    run(store, flow, "gone", 2)

    def sums() -> tuple[Any, ...]:
        with store.reading() as transaction:
            query = select(func.sum(spending.c.calls), func.sum(spending.c.tokens_in), func.sum(spending.c.cost_usd))
            return tuple(transaction.ledger.connection.execute(query).one())

    before = sums()
    list(delete_stream(store, "gone", None))
    assert sums() == before


def test_what_comes_late_is_dropped_and_a_stream_of_the_same_name_begins_anew(store: Store) -> None:
    flow = Flow(store, make_pool("ab"))
    flow.accept({"id": "p", "prompt": "x"}, stream="gone")
    flow.dispatcher.admit()
    late = [flow.answer(batch) for batch in flow.messages()]
    assert list(delete_stream(store, "gone", None)) == [1]
    for result in late:
        flow.handle(result)
    assert rows_of(store)["responses"] == 0
    run(store, flow, "gone", 2)
    with store.reading() as transaction:
        assert data_of(transaction.ledger.connection, ["gone"]).preferences == 2


def test_a_deletion_that_was_cut_off_goes_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("karma.store.deletion.AT_ONCE", 2)
    flow = Flow(store, make_pool("ab"))
    run(store, flow, "gone", 5)
    cut = delete_stream(store, "gone", None)
    assert next(cut) == 2
    cut.close()
    flow.accept({"id": "more", "prompt": "x"}, stream="gone")
    assert flow.dispatcher.admit() == 0  # it is paused until it is gone
    assert sum(delete_stream(store, "gone", None)) == 4
    assert flow.dispatcher.admit() == 0
    run(store, flow, "gone", 1)
    with store.reading() as transaction:
        assert data_of(transaction.ledger.connection, ["gone"]).prompts == 1


def test_the_newest_pair_that_was_left_is_recorded(store: Store) -> None:
    flow = Flow(store, make_pool("ab"))
    run(store, flow, "kept", 2)
    run(store, flow, "gone", 2)
    list(delete_stream(store, "gone", None))
    with store.reading() as transaction:
        connection = transaction.ledger.connection
        newest = connection.execute(select(func.max(pairs.c.id))).scalar_one()
        assert connection.execute(select(deletions.c.newest_pair)).scalars().all() == [newest]


def test_prompts_that_are_added_at_the_end_are_not_lost_from_sight(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = Flow(store, make_pool("ab"))
    run(store, flow, "gone", 1)
    deleting = delete_stream(store, "gone", None)
    assert next(deleting) == 1
    real = store.transaction
    opened = []

    def transaction() -> Any:
        opened.append(1)
        if len(opened) == 2:  # after the look that found no prompt more
            with suppress(Exception):
                monkeypatch.setattr(store, "transaction", real)
                flow.accept({"id": "late", "prompt": "x"}, stream="gone")
        return real()

    monkeypatch.setattr(store, "transaction", transaction)
    with pytest.raises(KarmaError, match="still being added to the stream gone"):
        list(deleting)
    with store.reading() as after:
        assert data_of(after.ledger.connection, ["gone"]).prompts == 1


def test_no_text_of_it_stays_in_the_file_of_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "karma.db"
    store = Store(sqlite_file(path))
    flow = Flow(store, make_pool("ab"))
    flow.accept(*({"id": str(n), "prompt": f"zebra {n} {'x' * 200}"} for n in range(50)), stream="gone")
    flow.accept({"id": "k", "prompt": "giraffe"}, stream="kept")
    flow.finish()

    def written(text: bytes) -> int:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return path.read_bytes().count(text)

    assert written(b"zebra") >= 50
    list(delete_stream(store, "gone", None))
    assert written(b"zebra") == 0
    assert written(b"giraffe") > 0
    store.close()
