"""PostgreSQL alone: what several gateways and sweepers do at once, and what its statements read."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from karma.store import Store
from karma.store.counting import prompts_by_state
from karma.store.records import BatchLimits, Work
from karma.store.schema import batches
from tests.support.memory import Flow, make_pool
from tests.support.stores import emptied

#: Times that two transactions lock the same rows in opposite orders.
ROUNDS = 20


@pytest.fixture
def store(postgresql_url: str) -> Iterator[Store]:
    made = emptied(postgresql_url)
    yield made
    made.close()


def test_connections_are_listed_by_their_service_unless_the_url_names_one(postgresql_url: str) -> None:
    for url, shown in ((postgresql_url, "karma:scoring"), (f"{postgresql_url}?application_name=mine", "mine")):
        with closing(Store(url, service="scoring")) as named, named.reading() as transaction:
            assert transaction.ledger.connection.exec_driver_sql("SHOW application_name").scalar_one() == shown


def test_of_two_gateways_one_admits_at_a_time_and_both_keep_to_the_window(store: Store, postgresql_url: str) -> None:
    pool = make_pool("ab", pipeline={"window": 10})
    one = Flow(store, pool)
    one.accept(*({"id": f"p{n}", "prompt": f"Say {n}."} for n in range(40)))
    with closing(Store(postgresql_url)) as other_store:
        other = Flow(other_store, pool)
        with store.transaction() as transaction:
            assert transaction.ledger.begin_admission()
            assert other.dispatcher.admit() == 0
            assert other.dispatcher.prompts_wait
        with ThreadPoolExecutor(2) as both:
            for _round in range(4):
                admitted = list(both.map(lambda flow: flow.dispatcher.admit(), (one, other)))
                assert sum(admitted) <= 10
    with store.reading() as transaction:
        assert transaction.ledger.in_flight() == {"default": 10}


def test_a_sweeper_skips_finished_batches_that_another_one_deletes(store: Store, postgresql_url: str) -> None:
    Flow(store, make_pool("ab")).accept({"id": "p", "prompt": "x"})
    with store.transaction() as transaction:
        ids = transaction.work.open("match", "", "default", 0, [Work(1, sample=n) for n in range(5)], BatchLimits(1))
        transaction.work.close(item.id for items in transaction.work.items_in(ids).values() for item in items)
    with closing(Store(postgresql_url)) as other, store.transaction() as first:
        assert first.work.forget_empty(older_than=store.clock() + 1) == 5
        with other.transaction() as second:
            assert second.work.forget_empty(older_than=store.clock() + 1) == 0


def test_rows_that_two_transactions_change_are_locked_in_one_order(store: Store) -> None:
    flow = Flow(store, make_pool("ab"))
    flow.accept({"id": "p", "prompt": "x"})
    with store.transaction() as transaction:
        work = [Work(1, sample=place) for place in range(60)]
        ids = transaction.work.open("generate", "a", "default", 0, work, BatchLimits(items=1))

    def mark(mine: list[str]) -> None:
        for _round in range(ROUNDS):
            with store.transaction() as transaction:
                transaction.work.mark_published(mine, "epoch", 1.0)

    with ThreadPoolExecutor(2) as both:
        list(both.map(mark, (ids, ids[::-1])))
    with store.reading() as transaction:
        assert {row.published_at for row in transaction.work.batches(ids)} == {1.0}


def test_nothing_that_the_dispatcher_asks_for_reads_all_prompts(store: Store) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO streams (name, created_at) VALUES ('default', 0)")
        connection.exec_driver_sql(
            "INSERT INTO prompts (stream, prompt_id, content_hash, messages, priority, state, awaited, accepted_at, "
            "ended_at) SELECT 'default', 'p' || n, 'h', '[]', 0, CASE WHEN n <= 20000 THEN 'done' ELSE 'accepted' END, "
            "0, 1, CASE WHEN n <= 20000 THEN 1 END FROM generate_series(1, 80000) n"
        )
        connection.exec_driver_sql("ANALYZE prompts")
    reads = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'prompts'"
    with store.transaction() as transaction:
        ledger = transaction.ledger
        ledger.connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
        before = ledger.connection.exec_driver_sql(reads).scalar_one()
        assert ledger.has_accepted()
        assert [row.name for row in ledger.wanting()] == ["default"]
        for _more_often_than_until_it_is_prepared in range(10):
            assert len(ledger.waiting("default", 0, 10)) == 10
        assert ledger.in_flight() == {}
        assert ledger.connection.exec_driver_sql(reads).scalar_one() - before < 1000
    with store.reading() as transaction:
        counted = prompts_by_state(transaction.ledger.connection)
    assert counted == {("default", "done"): 20_000, ("default", "accepted"): 60_000}


def test_the_rows_of_a_prompt_are_updated_in_place_while_it_is_in_flight(store: Store) -> None:
    flow = Flow(store, make_pool("ab"))
    flow.accept(*({"id": f"p{n}", "prompt": f"Say {n}."} for n in range(20)))
    flow.finish()
    with store.engine.begin() as connection:
        connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
    with store.engine.begin() as connection:
        statement = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'prompts'"
        updates, in_place = connection.exec_driver_sql(statement).one()
        assert connection.exec_driver_sql(f"SELECT count(*) FROM {batches.name}").scalar_one() > 0
    assert updates >= 20 * 4
    assert in_place >= updates * 0.4
