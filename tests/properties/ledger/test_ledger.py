"""SQLite and PostgreSQL both equal the model after every step of random histories.

The short form draws the same histories every time. The long form draws others each time, and the same again with
`pytest -m long tests/properties/ledger --hypothesis-seed=7`; `KARMA_TEST_HISTORIES` sets how many.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import event

from karma.store import Store
from tests.integration.conftest import postgresql_url  # noqa: F401
from tests.properties.ledger.histories import WANTED, Tally
from tests.properties.ledger.steps import Ledgers
from tests.support.stores import emptied, sqlite_file


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """A history loses work on purpose; what is said of it at every step is left out."""
    caplog.set_level(logging.ERROR, "karma_gateway")


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Store]:
    store = Store(sqlite_file(tmp_path / "karma.db"))
    yield store
    store.close()


@pytest.fixture
def postgresql(postgresql_url: str) -> Iterator[Store]:  # noqa: F811
    """Commits do not wait for the disk."""
    store = emptied(postgresql_url)

    @event.listens_for(store.engine, "connect")
    def do_not_wait(connection: Any, _record: Any) -> None:
        connection.execute("SET synchronous_commit = off")
        connection.commit()

    store.engine.dispose()  # every connection from here on is as above
    yield store
    store.close()


def run(stores: Sequence[Store], tally: Tally, histories: int, **changes: Any) -> Tally:
    """Draw histories of 50 steps; returns what was tried."""
    drawn = settings(
        max_examples=histories,
        stateful_step_count=50,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        **changes,
    )
    run_state_machine_as_test(lambda: Ledgers(stores, tally), settings=drawn)
    return tally


def test_sqlite_tells_the_truth_whatever_happens(sqlite: Store) -> None:
    """Everything is met that a history is about."""
    tally = run([sqlite], Tally(), 8, derandomize=True)
    assert not {what for what in WANTED if not tally.met[what]}


def test_both_databases_tell_the_truth_whatever_happens(sqlite: Store, postgresql: Store) -> None:
    run([sqlite, postgresql], Tally(), 12, derandomize=True)


def test_a_seed_gives_the_same_histories_again(sqlite: Store) -> None:
    first, second = (run([sqlite], Tally(trace=[]), 1, derandomize=True).trace for _time in range(2))
    assert first
    assert first == second


@pytest.mark.long
@pytest.mark.timeout(0)
def test_both_databases_tell_the_truth_in_ten_thousand_histories(
    sqlite: Store, postgresql: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    tally = run([sqlite, postgresql], Tally(), int(os.environ.get("KARMA_TEST_HISTORIES", "10000")))
    with capsys.disabled():
        print(f"\n{tally}")
