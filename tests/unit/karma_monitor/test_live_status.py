"""The live status is right, says what it does not know, and reads no more than it must."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from sqlalchemy import event

from karma.config.pool import Pool
from karma.config.settings import Price
from karma.messages import GenerateBatch, JudgeBatch
from karma.ranking.label_error import LabelError
from karma.ranking.snapshot import Snapshot
from karma.store import Store, counting
from karma.store.records import NewResponse, NewVerdict
from karma.store.schema import pairs, responses
from karma.store.streams import pause
from karma_monitor.figures.judges import judges
from karma_monitor.figures.money.cost import Costs
from karma_monitor.figures.quality import default_margin, quality_of, worst_error
from karma_monitor.figures.window import Window
from karma_monitor.live_status import LiveStatus
from karma_monitor.queries.totals import count, update
from karma_monitor.status import status
from tests.support.memory import Flow, make_pool
from tests.support.pipeline import wait_until
from tests.support.stores import sqlite_file


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    made = Store(sqlite_file(tmp_path / "karma.db"), clock=clock)
    yield made
    made.close()


def settled(board: LiveStatus, wanted: Any) -> dict[str, Any]:
    """The first live status that is as wanted."""
    found: dict[str, Any] = {}

    def read() -> bool:
        found.clear()
        found.update(board.read())
        return bool(wanted(found))

    wait_until(read, 20, "the live status is as expected")
    return found


def test_of_an_empty_store_everything_is_there_and_what_is_unknown_is_none(store: Store, tmp_path: Path) -> None:
    status = LiveStatus(store, None, make_pool()).read()
    assert status["version"] == 1
    assert status["home"] == str(tmp_path)
    assert status["outcome"].pop("cost_excludes") == []
    assert set(status["outcome"].values()) == {0, None, "USD"}
    assert status["outcome"]["preferences"] == 0
    assert set(status["states"].values()) == {0}
    assert [stage["stage"] for stage in status["funnel"]] == [
        *("prompts", "responses", "pairs", "verdicts", "preferences")
    ]
    assert set(status["rates"].values()) == {None}
    assert (status["queues"], status["workers"], status["redelivered"]) == ([], [], None)
    assert [one["name"] for one in status["endpoints"]] == ["a", "b", "c", "j"]
    quality = dict(status["quality"])
    assert (quality.pop("window"), quality.pop("first_position"), quality.pop("judges")) == (0, [], [])
    assert quality.pop("preferences") == []
    assert {(row["both_orders"], row["flip_share"]) for row in quality.pop("flips_by_gap")} == {(0, None)}
    assert quality.pop("cascades") == []
    assert set(quality.values()) == {None}


def test_after_a_drain_the_picture_is_what_the_store_holds(store: Store) -> None:
    flow = Flow(store, make_pool("ab"))
    flow.accept(*({"prompt": f"p{n}"} for n in range(30)))
    board = LiveStatus(store, None, flow.pool)
    board.read()
    flow.finish()
    status = settled(board, lambda found: found["resolutions"]["decisive"] == 30)
    with store.reading() as transaction:
        assert status["states"] == transaction.ledger.count_states()
        resolved = counting.resolutions_by_outcome(transaction.ledger.connection)
    assert status["resolutions"] == {**counting.outcomes(resolved), "no_pair": 0}
    assert status["preferences"] == counting.preferences(resolved)
    assert [stage["count"] for stage in status["funnel"]] == [30, 60, 30, 60, 30]
    assert status["outcome"]["yield"] == 1.0
    assert status["outcome"]["time_left_s"] == 0.0


def test_rates_are_unknown_at_the_first_look_and_then_those_between_two_looks(store: Store, clock: Clock) -> None:
    flow = Flow(store, make_pool("ab"))
    board = LiveStatus(store, None, flow.pool)
    assert board.read()["rates"]["prompts_per_s"] is None
    flow.accept(*({"prompt": f"p{n}"} for n in range(20)))
    flow.finish()
    clock.now += 5.0
    rates = settled(board, lambda found: found["rates"]["preferences_per_s"])["rates"]
    assert rates == {
        "prompts_per_s": 4.0,
        "responses_per_s": 8.0,
        "pairs_per_s": 4.0,
        "verdicts_per_s": 8.0,
        "preferences_per_s": 4.0,
    }


def test_looks_that_are_far_apart_tell_no_rate(store: Store, clock: Clock) -> None:
    flow = Flow(store, make_pool("ab"))
    board = LiveStatus(store, None, flow.pool)
    board.read()
    flow.accept({"prompt": "p"})
    clock.now += 3_600.0
    assert settled(board, lambda found: found["states"]["accepted"] == 1)["rates"]["prompts_per_s"] is None


def test_the_time_left_is_told_by_how_many_prompts_ended(store: Store, clock: Clock) -> None:
    flow = Flow(store, make_pool("ab"))
    flow.accept(*({"prompt": f"p{n}"} for n in range(10)))
    board = LiveStatus(store, None, flow.pool)
    assert board.read()["outcome"]["time_left_s"] is None
    flow.finish()
    flow.accept(*({"prompt": f"q{n}"} for n in range(5)))
    clock.now += 10.0
    status = settled(board, lambda found: found["states"]["done"] == 10)
    assert status["outcome"]["time_left_s"] == pytest.approx(5.0)


def test_the_time_left_is_not_told_by_a_time_in_which_nobody_looked(store: Store, clock: Clock) -> None:
    flow = Flow(store, make_pool("ab"))
    flow.accept(*({"prompt": f"p{n}"} for n in range(10)))
    board = LiveStatus(store, None, flow.pool)
    board.read()
    clock.now += 36_000.0
    flow.accept(*({"prompt": f"q{n}"} for n in range(5)))
    settled(board, lambda found: found["states"]["accepted"] == 15)
    flow.finish()
    flow.accept(*({"prompt": f"r{n}"} for n in range(5)))
    clock.now += 10.0
    status = settled(board, lambda found: found["states"]["done"] == 15)
    assert status["outcome"]["time_left_s"] == pytest.approx(10.0 * 5 / 15)


def test_what_is_carried_on_equals_what_is_counted_whole(store: Store, clock: Clock) -> None:
    flow = Flow(store, make_pool("ab"))
    flow.accept(*({"prompt": f"p{n}"} for n in range(10)))
    flow.finish()
    with store.reading() as transaction:
        before = count(transaction.ledger.connection, clock.now)
    clock.now += 3.0
    flow.accept(*({"prompt": f"q{n}"} for n in range(7)), stream="other")
    flow.dispatcher.admit()
    flow.accept({"prompt": "r"})
    with store.reading() as transaction:
        connection = transaction.ledger.connection
        carried, whole = update(connection, before, clock.now + 2.0), count(connection, clock.now + 2.0)
    assert carried.states == whole.states
    assert carried.states == {"accepted": 1, "dispatched": 7, "answered": 0, "matched": 0, "done": 10, "dead": 0}
    assert (carried.rows, carried.marks, carried.resolved) == (whole.rows, whole.marks, whole.resolved)


def test_what_was_resolved_before_a_count_and_committed_after_it_is_not_missed(store: Store, clock: Clock) -> None:
    flow = Flow(store, make_pool("ab"))
    flow.accept({"prompt": "p"})
    flow.finish()
    with store.reading() as transaction:
        totals = count(transaction.ledger.connection, clock.now + 0.5)
    assert totals.outcomes["decisive"] == 1
    flow.accept({"prompt": "q"})
    flow.finish()  # at the time of the first, half a second before the count
    for later_s in (0.6, 1.7, 2.9):
        with store.reading() as transaction:
            totals = update(transaction.ledger.connection, totals, clock.now + later_s)
        assert totals.outcomes["decisive"] == 2


def test_what_was_lost_is_told_with_its_reason_and_where_to_see_it(store: Store) -> None:
    flow = Flow(store, make_pool("ab"))
    flow.accept(*({"prompt": f"p{n}"} for n in range(4)))
    flow.dispatcher.admit()
    with store.transaction() as transaction:
        transaction.ledger.dead_letter(1, "boom")
    for batch in flow.messages():
        assert isinstance(batch, GenerateBatch)
        flow.handle(flow.answer(batch, failure="timed out after 60 s") if batch.model == "a" else flow.answer(batch))
    flow.finish()
    status = LiveStatus(store, None, flow.pool).read()
    losses = {stage["stage"]: stage["losses"] for stage in status["funnel"]}
    assert losses["prompts"] == [{"reason": "dead", "count": 1, "link": "/dead"}]
    assert [one["count"] for one in losses["responses"]] == [3]
    assert {stage["stage"]: stage["of"] for stage in status["funnel"]} == {
        "prompts": 4,
        "responses": 6,
        "pairs": 4,
        "verdicts": 0,
        "preferences": 0,
    }
    assert [one["count"] for one in losses["pairs"]] == [3]
    (asked,) = [one for one in status["endpoints"] if one["name"] == "a"]
    assert (asked["calls"], asked["failed"], asked["failures"]) == (3, 3, {"timeout": 3})


def test_ties_and_flips_are_shares_of_the_recent_pairs(store: Store) -> None:
    flow = Flow(store, make_pool("ab"))
    flow.accept(*({"prompt": f"p{n}"} for n in range(4)))
    flow.dispatcher.admit()
    judged = 0
    while flow.sent:
        for batch in flow.messages():
            if isinstance(batch, JudgeBatch):
                judged += 1
                flow.handle(flow.judge(batch, probability=0.9))  # whatever is shown first is preferred
            else:
                flow.handle(flow.answer(batch) if isinstance(batch, GenerateBatch) else batch)
    quality = LiveStatus(store, None, flow.pool).read()["quality"]
    assert judged
    assert (quality["window"], quality["flip_share"], quality["judged_share"]) == (4, 1.0, 1.0)
    (first,) = quality["first_position"]
    assert (first["judge"], first["share"], first["n"]) == ("j", 1.0, 8)
    assert first["low"] < 1.0


def test_the_window_keeps_the_newest_pairs_and_forgets_the_others(store: Store, clock: Clock) -> None:
    flow = Flow(store, make_pool("ab"))
    window = Window(store, most=5)
    for _round in range(3):
        clock.now += 1.0
        flow.accept(*({"prompt": f"{clock.now} {n}"} for n in range(4)))
        flow.finish()
        window.renew(10.0)
    assert sorted(pair.resolved_at for pair in window) == [1_002.0, *[1_003.0] * 4]


def test_a_stream_has_a_window_of_its_own_however_much_came_after_it(store: Store, clock: Clock) -> None:
    flow = Flow(store, make_pool("ab"))
    flow.accept(*({"prompt": f"p{n}"} for n in range(3)), stream="early")
    flow.finish()
    clock.now += 1.0
    flow.accept(*({"prompt": f"q{n}"} for n in range(9)), stream="late")
    flow.finish()
    window = Window(store, "early", most=5)
    window.renew(10.0)
    assert [pair.stream for pair in window] == ["early"] * 3


def test_costs_are_those_of_every_call_by_the_pools_prices_and_none_without(store: Store) -> None:
    tables = {"models": {"a": {"backend": "openai", "base_url": "http://127.0.0.1:1/v1", "model": "a"}}}
    tables["models"]["a"]["price"] = {"input": 1.0, "output": 10.0}  # type: ignore[assignment]
    pool = Pool.from_tables(
        {**tables, "judges": {"j": {"kind": "prior"}}, "stream": {"policy": "self"}}, Path("pool.toml")
    )
    assert pool.prices["a"] == Price(input=1.0, output=10.0)
    flow = Flow(store, make_pool("ab"))
    flow.accept({"prompt": "p"})
    with store.transaction() as transaction:
        transaction.preferences.add_responses(
            [
                NewResponse(
                    prompt=1, model="a", sample=sample, text="t", failure=None, features=None, quality=None,
                    finish_reason=None, tokens_in=100_000, tokens_out=20_000, latency_s=1.0,
                )
                for sample in range(3)
            ],
            "default",
        )  # fmt: skip
    assert LiveStatus(store, None, make_pool("ab")).read()["outcome"]["cost"] is None
    status = LiveStatus(store, None, pool).read()
    assert status["outcome"]["cost"] == pytest.approx(0.9)
    assert status["outcome"]["cost_per_preference"] is None
    assert status["outcome"]["cost_unknown_calls"] == 0


def answers(flow: Flow, model: str, samples: range, tokens: int | None = 1_000) -> None:
    with flow.store.transaction() as transaction:
        transaction.preferences.add_responses(
            [
                NewResponse(
                    prompt=1, model=model, sample=sample, text="t", failure=None, features=None, quality=None,
                    finish_reason=None, tokens_in=tokens, tokens_out=tokens, latency_s=1.0,
                )
                for sample in samples
            ],
            "default",
        )  # fmt: skip


def test_costs_name_what_they_leave_out(store: Store) -> None:
    pool = replace(make_pool("ab"), prices={"a": Price(input=1.0, output=1.0)})
    flow = Flow(store, pool)
    flow.accept({"prompt": "p"})
    answers(flow, "a", range(3))
    answers(flow, "a", range(3, 4), None)  # told no tokens
    answers(flow, "b", range(2))  # has no price
    answers(flow, "given", range(2), None)  # was asked by nobody here
    found = Costs(store, pool).read()
    assert (found.total, found.unknown_calls) == (pytest.approx(0.006), 3)
    assert found.excluded == ["a", "b"]
    assert (found.of("model", "a"), found.of("model", "b")) == (pytest.approx(0.006), None)


def test_what_a_requeue_deletes_stays_paid_for(store: Store) -> None:
    pool = replace(make_pool("ab"), prices={"a": Price(input=1.0, output=1.0)})
    flow = Flow(store, pool)
    flow.accept({"prompt": "p"})
    answers(flow, "a", range(3))
    costs = Costs(store, pool)
    assert costs.read().total == pytest.approx(0.006)
    answers(flow, "a", range(5))  # three of them for the second time
    with store.transaction() as transaction:
        transaction.ledger.connection.exec_driver_sql("DELETE FROM responses WHERE sample = 3")
    assert costs.read().total == pytest.approx(0.010)


def test_the_budget_left_is_that_of_the_last_hours_judge_calls(store: Store, clock: Clock) -> None:
    clock.now = 10_000.0
    pool = make_pool("ab", streams={"limited": {"judge_calls_per_hour": 100.0}})
    unlimited = LiveStatus(store, None, make_pool("ab")).read()["outcome"]
    assert (unlimited["budget_left"], unlimited["judge_calls"]) == (None, None)
    nothing_yet = {"calls_last_hour": 0, "calls_per_hour": 0, "streams": 0}
    assert LiveStatus(store, None, pool).read()["outcome"]["judge_calls"] == nothing_yet
    Flow(store, pool).accept({"prompt": "p"}, stream="limited")
    earlier = {"hour_began": 9_000.0, "hour_judged": 25.0}  # of an earlier version: unknown until the next pair
    for state, calls in (({"recent": [[150, 60, 50]]}, 50), ({"recent": [[105, 60, 50]]}, 0), (earlier, 0)):
        with store.transaction() as transaction:
            transaction.judge_budgets.lock("limited")
            transaction.judge_budgets.keep("limited", 60, 25, json.dumps(state))
        outcome = LiveStatus(store, None, pool).read()["outcome"]
        assert outcome["budget_left"] == 1.0 - calls / 100.0
        assert outcome["judge_calls"] == {"calls_last_hour": calls, "calls_per_hour": 100.0, "streams": 1}
        found = status(store, None, pool)
        assert found["judge_budget"] == {"limited": {"calls_last_hour": calls, "calls_per_hour": 100.0}}
        jsonschema.validate(found, json.loads((files("karma_monitor") / "status.schema.json").read_text()))


def test_judges_agree_where_they_take_the_same_side_of_a_pair(store: Store) -> None:
    flow = Flow(store, make_pool("ab"))
    flow.accept(*({"prompt": f"p{n}"} for n in range(3)))
    flow.finish()
    with store.reading() as transaction:
        known = transaction.preferences.verdicts_of([1, 2, 3])
    with store.transaction() as transaction:
        transaction.preferences.add_verdicts(
            [
                NewVerdict(
                    pair=pair, judge="k", template_hash="t", shown=0, failure=None, rationale=None,
                    tokens_in=None, tokens_out=None, latency_s=None,
                    probability=probability if known[pair][0].probability == 0.9 else 1.0 - probability,
                )
                for pair, probability in ((1, 0.8), (2, 0.2), (3, 0.5))
            ],
            "default",
        )  # fmt: skip
    window = Window(store)
    window.renew(10.0)
    found = judges(quality_of(window, default_margin), Snapshot.empty())
    assert [(one["judge"], one["agreement"], one["agreements_compared"]) for one in found] == [
        ("j", 0.5, 2),
        ("k", 0.5, 2),
    ]


def test_what_is_paused_is_in_the_picture(store: Store) -> None:
    board = LiveStatus(store, None, make_pool())
    assert board.read()["paused"] == []
    with store.transaction() as transaction:
        pause(transaction.ledger.connection, "s", 1.0)
        pause(transaction.ledger.connection, None, 1.0)
    board.expire()
    assert board.read()["paused"] == ["*", "s"]


def test_the_label_error_is_that_of_the_stream_where_it_is_highest() -> None:
    assert worst_error(Snapshot.empty()) is None
    low, high = LabelError(0.1, 0.0, 0.2, 10, 100), LabelError(0.3, 0.2, 0.4, 20, 100)
    found = worst_error(replace(Snapshot.empty(), audits={"a": low, "b": high}))
    assert found is not None
    assert (found["stream"], found["estimate"], found["audited"]) == ("b", 0.3, 20)


def test_a_look_at_a_quiet_store_reads_no_texts(store: Store) -> None:
    flow = Flow(store, make_pool("ab"))
    flow.accept(*({"prompt": f"p{n}"} for n in range(10)))
    flow.finish()
    board = LiveStatus(store, None, flow.pool)
    board.read()
    asked: list[str] = []

    @event.listens_for(store.engine, "before_cursor_execute")
    def note(_c: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        asked.append(statement)

    settled(board, lambda _picture: any("ORDER BY resolutions.resolved_at" in statement for statement in asked))
    assert not [
        statement for statement in asked if f"{responses.name}.text" in statement or pairs.c.reasons.name in statement
    ]
