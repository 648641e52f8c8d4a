"""A stream keeps the goal that it began with, on real databases: whatever the default is later, and until the pool file
names another."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select, update

from karma.config.derived_streams import Derivation
from karma.config.goals import SETTINGS
from karma.store import Store
from karma.store.ledger import Ledger
from karma.store.schema import gates, pairs, prompts, streams
from karma.store.streams import StreamGoals, record_goal, recorded_goals
from karma_gateway.rematch import derive
from karma_monitor.explain import explain
from karma_monitor.explanation import sentences
from karma_monitor.prometheus import LedgerMetrics
from karma_monitor.queries.stream_goals import described, labeling
from karma_monitor.queries.stream_goals import goals as goals_of
from karma_monitor.status import status
from tests.support.memory import Flow, make_pool
from tests.support.shown import forget_all, value

TRAIN = SETTINGS["train"]["policy"]


def flow_of(store: Store, **tables: dict) -> Flow:
    """A pool that names no goal unless the tables do."""
    return Flow(store, make_pool("abcd", goal=None, **tables))


def run(flow: Flow, first: int = 0, stream: str = "default") -> None:
    flow.accept(*({"id": f"p{n}", "prompt": f"Say {n}."} for n in range(first, first + 3)), stream=stream)
    flow.finish()


def goals(store: Store) -> dict[str, str | None]:
    with store.reading() as transaction:
        return {row.name: row.goal for row in transaction.ledger.connection.execute(select(streams))}


def policies(store: Store, stream: str = "default") -> list[str]:
    """Of the pairs of a stream, each followed by the same policy once, in the order that they were formed."""
    query = select(pairs.c.policy).join(prompts, prompts.c.id == pairs.c.prompt).where(prompts.c.stream == stream)
    with store.reading() as transaction:
        found = list(transaction.ledger.connection.execute(query.order_by(pairs.c.id)).scalars())
    return [policy for n, policy in enumerate(found) if n == 0 or found[n - 1] != policy]


def begin_with(store: Store, stream: str, goal: str) -> None:
    """Make a stream one that began with a goal."""
    with store.transaction() as transaction:
        connection = transaction.ledger.connection
        connection.execute(update(streams).where(streams.c.name == stream).values(goal=goal))


def test_a_new_stream_begins_with_the_default_and_its_first_admission_records_it(store: Store) -> None:
    flow = flow_of(store, streams={"board": {"goal": "rank"}})
    flow.accept({"prompt": "hi"}, stream="waits")
    assert goals(store) == {"waits": None}

    flow.finish()
    run(flow)
    run(flow, stream="board")

    assert goals(store) == {"waits": "train", "default": "train", "board": "rank"}
    assert (policies(store), policies(store, "board")) == ([TRAIN], [SETTINGS["rank"]["policy"]])


def test_a_stream_that_began_with_another_goal_goes_on_with_it(store: Store) -> None:
    flow = flow_of(store)
    flow.accept({"prompt": "hi", "id": "first"})
    begin_with(store, "default", "label")
    run(flow)
    run(flow, stream="new")

    assert goals(store) == {"default": "label", "new": "train"}
    assert (policies(store), policies(store, "new")) == (["informative"], [TRAIN])
    assert 'The stream\'s goal was label, which chose policy = "informative".' in sentences(explain(store, 1), 80)


def test_a_goal_that_the_pool_file_names_later_holds_from_then_on_and_until_it_is_taken_out(store: Store) -> None:
    run(flow_of(store))
    run(flow_of(store, stream={"goal": "rank"}), first=3)
    run(flow_of(store), first=6)

    assert policies(store) == [TRAIN, "informative", TRAIN]
    assert goals(store) == {"default": "train"}  # what it began with


def test_a_derived_stream_begins_with_the_goal_that_its_base_began_with(store: Store) -> None:
    flow = flow_of(store, stream={"pairs_per_prompt": 0})
    flow.accept({"prompt": "hi", "id": "first"})
    begin_with(store, "default", "label")
    run(flow)
    derived = Derivation("default", "random")
    derive(store, derived)
    flow.finish()

    assert goals(store) == {"default": "label", "default@random": "label"}
    with store.reading() as transaction:
        query = select(pairs.c.reasons).where(pairs.c.policy == "random")
        reasons = [json.loads(text) for text in transaction.ledger.connection.execute(query).scalars()]
    assert {one["goal"] for one in reasons} == {"label"}
    assert not any("gate" in one for one in reasons)  # the judge budget is one of another goal


def test_a_recorded_goal_is_never_changed(store: Store) -> None:
    flow_of(store).accept({"prompt": "hi"})
    with store.transaction() as transaction:
        record_goal(transaction.ledger.connection, "default", "rank")
        record_goal(transaction.ledger.connection, "default", "label")
        record_goal(transaction.ledger.connection, "no such stream", "label")
    assert goals(store) == {"default": "rank"}


def test_what_a_stream_began_with_is_read_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is recorded nothing is kept, so a reader cannot miss it."""
    flow_of(store).accept({"prompt": "hi"})
    known = StreamGoals()
    with store.reading() as transaction:
        assert known.of(transaction.ledger.connection, "default") is None
        assert known.of(transaction.ledger.connection, "another") is None
    begin_with(store, "default", "label")
    with store.reading() as transaction:
        assert known.of(transaction.ledger.connection, "default") == "label"
    assert known.of(None, "default") == "label"  # type: ignore[arg-type]


def test_a_prompt_that_waits_names_what_its_stream_began_with(store: Store) -> None:
    flow_of(store).accept({"prompt": "hi"})
    begin_with(store, "default", "rank")
    with store.transaction() as transaction:
        ledger: Ledger = transaction.ledger
        assert [row.goal for row in ledger.wanting()] == ["rank"]
        assert recorded_goals(ledger.connection, ["default", "none"]) == {"default": "rank"}


def test_status_names_the_goal_of_each_stream_and_what_the_pool_file_changed(store: Store) -> None:
    run(flow_of(store))
    run(flow_of(store), stream="other")
    derive(store, Derivation("other", "random"))
    flow_of(store).accept({"prompt": "hi"}, stream="waits")
    changed = make_pool("abcd", goal=None, streams={"other": {"goal": "rank"}})

    assert status(store, None, changed)["goals"] == {
        "default": {"goal": "train", "began_with": "train"},
        "other": {"goal": "rank", "began_with": "train"},
        "waits": {"goal": "train", "began_with": None},
    }
    assert status(store, None, None)["goals"]["waits"] == {"goal": None, "began_with": None}
    with store.reading() as transaction:
        found = goals_of(transaction.ledger.connection, changed)
    assert list(described(found)) == ["goal rank: other (began with train)", "goal train: default, waits"]
    many = {f"s{n}\x1b": {"goal": "label", "began_with": "label"} for n in range(10)}
    (line,) = described(many)
    assert line.endswith(" and 2 more")
    assert "\x1b" not in line


def test_it_is_said_how_the_pairs_of_a_stream_get_their_labels(store: Store) -> None:
    flow = flow_of(store, streams={"board": {"goal": "rank"}})
    flow.accept({"prompt": "hi"})
    with store.reading() as transaction:
        new = labeling(transaction.ledger.connection, flow.pool, "default")
        judged = labeling(transaction.ledger.connection, flow.pool, "board")
    assert new.data() == {"goal": "train", "pairs_so_far": {"judged": 0, "predicted": 0}}
    assert "goal train: some labels will be predicted, not judged" in str(new.sentence())
    assert (judged.sentence(), judged.data()["pairs_so_far"]) == (None, None)

    run(flow)
    with store.transaction() as transaction:
        connection = transaction.ledger.connection
        connection.execute(update(gates).values(seen=1200, judged=300))
        known = labeling(connection, flow.pool, "default")
        assert labeling(connection, None, "default") == known
    said = "goal train: of 1,200 pairs so far 900 get a predicted label, 300 are judged"
    assert known.sentence() == said
    assert known.data()["pairs_so_far"] == {"judged": 300, "predicted": 900}


def test_the_judge_share_that_prometheus_shows_is_that_of_the_goal_that_a_stream_began_with(store: Store) -> None:
    pool = make_pool("abcd", goal=None, streams={"of-train": {}, "of-label": {"judge_share": 0.7}})
    flow = Flow(store, pool)
    for stream in ("of-train", "of-label"):
        flow.accept({"prompt": "hi", "id": "first"}, stream=stream)
    begin_with(store, "of-label", "label")
    flow.finish()

    forget_all()
    LedgerMetrics(store, None, pool).read_store()
    assert value("karma_judge_budget_ratio", stream="of-train") == SETTINGS["train"]["judge_share"]
    assert value("karma_judge_budget_ratio", stream="of-label") == 0.7
