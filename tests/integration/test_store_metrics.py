"""The store as a worker sees it: transactions by what they may do, and what was refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from karma.errors import StoreOutageError
from karma.store import Store
from karma.store.instrumentation import measure
from tests.support.shown import forget_all, value


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    forget_all()
    yield
    forget_all()


def transactions(mode: str) -> float:
    return value("karma_store_transaction_seconds_count", mode=mode)


def test_transactions_are_measured_by_what_they_may_do(store: Store) -> None:
    measure(store)
    with store.transaction() as transaction:
        transaction.ledger.connection.execute(text("SELECT 1"))
    for _ in range(2):
        with store.reading() as transaction:
            transaction.ledger.count_states()
    assert (transactions("write"), transactions("read")) == (1, 2)
    assert value("karma_store_errors_total", kind="error") == 0


def test_a_transaction_that_is_rolled_back_is_measured_too(store: Store) -> None:
    measure(store)
    with pytest.raises(KeyError), store.transaction():
        raise KeyError
    assert transactions("write") == 1


def test_a_statement_that_is_refused_is_an_error_and_no_outage(store: Store) -> None:
    measure(store)
    with pytest.raises(DBAPIError), store.transaction() as transaction:
        transaction.ledger.connection.execute(text("INSERT INTO streams (name, created_at) VALUES ('a', 0), ('a', 0)"))
    assert value("karma_store_errors_total", kind="error") == 1
    assert value("karma_store_errors_total", kind="outage") == 0


def test_a_store_that_is_locked_is_an_outage(tmp_path) -> None:
    url = f"sqlite:///{tmp_path / 'karma.db'}"
    holder, store = Store(url), Store(url)
    holder.migrate()
    measure(store)
    with store.reading() as transaction:
        transaction.ledger.connection.exec_driver_sql("PRAGMA busy_timeout = 1")
    with holder.transaction(), pytest.raises(StoreOutageError), store.transaction():
        pass
    assert value("karma_store_errors_total", kind="outage") == 1
    holder.close()
    store.close()
