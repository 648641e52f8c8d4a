"""Who is admitted: by priority first, then by fair shares, past models and judges that must not be asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from karma.messages.lanes import is_express
from karma.store import Store
from karma_gateway.dispatch import Dispatcher
from tests.support.memory import Flow, make_pool
from tests.support.stores import sqlite_file


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(sqlite_file(tmp_path / "karma.db"))
    yield made
    made.close()


def flow(store: Store, closed: dict[str, str] | None = None, models: str = "abc", **tables: dict) -> Flow:
    made = Flow(store, make_pool(models, **tables))
    made.closed = {} if closed is None else closed  # type: ignore[attr-defined]
    made.dispatcher = Dispatcher(store, made.pool, made, closed=lambda: made.closed)  # type: ignore
    return made


def accept(to: Flow, stream: str, number: int, **fields: Any) -> None:
    to.accept(*({"prompt": f"{stream} {n}", "id": f"{n}", **fields} for n in range(number)), stream=stream)


def in_flight(store: Store) -> dict[str, int]:
    with store.reading() as transaction:
        return {name: number for name, number in transaction.ledger.in_flight().items() if number}


def admit_all(to: Flow) -> Counter[str]:
    """Admit until nothing more is; returns how many of each stream are in flight then."""
    while to.dispatcher.admit():
        pass
    return Counter(in_flight(to.store))


def test_a_stream_that_holds_the_window_leaves_a_newcomer_its_share(store: Store) -> None:
    made = flow(store, pipeline={"window": 10})
    accept(made, "big", 30)
    assert admit_all(made) == {"big": 10}
    accept(made, "new", 30)
    assert admit_all(made) == {"big": 10, "new": 5}
    assert made.dispatcher.prompts_wait
    accept(made, "third", 2)
    assert admit_all(made) == {"big": 10, "new": 5, "third": 2}


def test_streams_get_places_by_weight(store: Store) -> None:
    made = flow(store, pipeline={"window": 12}, streams={"heavy": {"weight": 3}})
    for stream in ("light", "heavy"):
        accept(made, stream, 20)
    assert admit_all(made) == {"light": 3, "heavy": 9}


def test_a_higher_priority_goes_first_whatever_the_shares(store: Store) -> None:
    made = flow(store, pipeline={"window": 6})
    accept(made, "low", 20)
    with store.transaction() as transaction:
        transaction.ledger.connection.exec_driver_sql("UPDATE prompts SET priority = 1")
    accept(made, "lower", 20)
    assert admit_all(made) == {"low": 6}


def test_a_model_that_one_stream_fills_has_places_for_another(store: Store) -> None:
    made = flow(store, models="ab", pipeline={"window": 100, "model_limit": 8, "plan_prompts": 4})
    accept(made, "first", 20)
    assert admit_all(made) == {"first": 8}
    accept(made, "second", 20)
    assert admit_all(made) == {"first": 8, "second": 4}


def test_a_closed_model_is_not_planned_and_a_stream_that_needs_it_waits(store: Store) -> None:
    streams = {"needs": {"target": "c"}, "pair": {"models": ["b", "c"]}}
    made = flow(store, closed={"c": "refuses connections"}, streams=streams)
    for stream in ("default", "needs", "pair"):
        accept(made, stream, 4)
    assert admit_all(made) == {"default": 4}
    assert {message.model for message in made.messages()} == {"a", "b"}  # type: ignore[union-attr]
    made.closed.clear()  # type: ignore[attr-defined]
    assert admit_all(made) == {"default": 4, "needs": 4, "pair": 4}


def test_a_stream_with_a_closed_judge_is_not_admitted(store: Store) -> None:
    judges = {"j": {"kind": "verifier"}, "k": {"kind": "verifier"}}
    made = flow(store, closed={"j": "answers nothing"}, judges=judges, streams={"other": {"judges": ["k"]}})
    accept(made, "default", 3)
    accept(made, "other", 3)
    assert admit_all(made) == {"other": 3}
    made.closed.clear()  # type: ignore[attr-defined]
    assert admit_all(made) == {"other": 3, "default": 3}


def test_prompts_that_wait_for_a_closed_model_occupy_nothing(store: Store) -> None:
    streams = {"dead": {"models": ["c", "d"]}, "well": {"models": ["a", "b"]}}
    made = flow(store, models="abcd", pipeline={"window": 8}, streams=streams)
    accept(made, "dead", 20)
    assert admit_all(made) == {"dead": 8}
    made.closed["c"] = "refuses connections"  # type: ignore[attr-defined]
    accept(made, "well", 20)
    assert admit_all(made) == {"dead": 8, "well": 8}
    with store.reading() as transaction:
        assert transaction.ledger.in_flight(["c"]) == {"dead": 0, "well": 8}
        assert transaction.ledger.in_flight(["unknown"]) == {"dead": 8, "well": 8}


def test_a_newcomer_travels_in_the_express_lane_up_to_half_of_its_share_and_so_does_what_follows(store: Store) -> None:
    made = flow(store, models="ab", pipeline={"window": 64, "plan_prompts": 8})
    accept(made, "big", 64)
    admit_all(made)
    assert not any(map(is_express, made.sent))
    made.sent.clear()
    accept(made, "new", 64)
    lanes = []
    while made.dispatcher.admit():
        lanes.append({is_express(id_) for id_ in made.sent})
        made.sent.clear()
    assert lanes == [{True}, {True}, {False}, {False}]


def test_streams_in_balance_keep_to_the_normal_lane(store: Store) -> None:
    made = flow(store, models="ab", pipeline={"window": 64, "plan_prompts": 64})
    for stream in ("one", "two"):
        accept(made, stream, 200)
    admit_all(made)
    made.sent.clear()
    for _round in range(10):
        with store.transaction() as transaction:
            for stream in ("one", "two"):
                query = "SELECT id FROM prompts WHERE stream = ? AND state = 'dispatched' LIMIT 3"
                found = transaction.ledger.connection.exec_driver_sql(query, (stream,)).scalars().all()
                transaction.ledger.end(found)
        assert made.dispatcher.admit() == 6
    assert made.sent
    assert not any(map(is_express, made.sent))


def test_a_round_of_a_full_pipeline_waits_for_no_writer(store: Store) -> None:
    made = flow(store, models="ab", pipeline={"window": 100, "model_limit": 4, "plan_prompts": 4})
    accept(made, "default", 20)
    assert admit_all(made) == {"default": 4}
    writer = Store(store.shown_url)
    try:
        with writer.transaction():  # SQLite has one writer at a time: a round that wants to write would wait
            assert made.dispatcher.admit() == 0
    finally:
        writer.close()
    assert made.dispatcher.prompts_wait


def test_prompts_with_responses_are_admitted_while_all_models_are_full(store: Store) -> None:
    made = flow(store, models="ab", pipeline={"window": 100, "model_limit": 4, "plan_prompts": 4})
    accept(made, "asks", 20)
    assert admit_all(made) == {"asks": 4}
    accept(made, "has", 3, responses={"x": "one", "y": "two"})
    assert admit_all(made) == {"asks": 4, "has": 3}
