"""A stream that draws the judges of each pair, through the handlers."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from karma.config.judge_calls import asked_share, calls_per_pair
from karma.errors import SettingsError
from karma.ranking.jury import JudgeWeight, Jury
from karma.store import Store
from karma.store.requeue import bring_back, requeue_incomplete
from karma_matching.budget.allocation import BudgetState
from tests.integration.test_cascade import SURE, asked, ended, finish, make_flow, records, run
from tests.support.memory import Flow
from tests.support.stores import memory


def rotating(store: Store, number: int = 1, larger: str = "LM", **stream: Any) -> Flow:
    settings = {"judges_per_pair": number, "all_judges_share": 1e-9, "first_judge": None, **stream}
    return make_flow(store, None, larger, **settings)


def test_one_judge_a_pair_is_drawn_and_each_about_equally_often(store: Store) -> None:
    flow = run(rotating(store), lambda *_: SURE, 90)
    found = asked(flow)
    assert found.keys() == {("s",), ("L",), ("M",)}
    assert all(18 <= number <= 42 for number in found.values())
    assert ended(flow)


def test_two_of_three_judges_give_every_two_about_equally_often(store: Store) -> None:
    found = asked(run(rotating(store, 2), lambda *_: SURE, 90))
    assert found.keys() == {("L", "M"), ("L", "s"), ("M", "s")}
    assert all(18 <= number <= 42 for number in found.values())


def test_the_draw_is_of_the_pairs_name_alone() -> None:
    first, second = (run(rotating(memory()), lambda *_: SURE, 30) for _ in range(2))
    drawn = [[each.pair.judges and each.pair.judges.at_once for each in records(flow)] for flow in (first, second)]
    assert drawn[0] == drawn[1]


def test_a_share_of_the_pairs_is_seen_by_all_judges(store: Store) -> None:
    found = asked(run(rotating(store, all_judges_share=0.25), lambda *_: SURE, 80))
    assert 8 <= found["L", "M", "s"] <= 36
    assert sum(number for judges, number in found.items() if len(judges) == 1) == 80 - found["L", "M", "s"]


def test_orders_go_with_the_drawn_judge(store: Store) -> None:
    flow = run(rotating(store, orders="both"), lambda *_: SURE, 20)
    assert set(asked(flow)) <= {("s", "s"), ("L", "L"), ("M", "M")}
    assert ended(flow)


def test_a_failed_judge_is_asked_again_and_no_other_one(store: Store) -> None:
    """On pairs that all see, one judge fails and is asked again."""
    flow = run(rotating(store, all_judges_share=1.0), lambda judge, *_: None if judge == "L" else SURE, 10)
    assert list(bring_back(store, partial(requeue_incomplete, lambda *_: None))) == [10]
    finish(flow, lambda *_: SURE)
    assert asked(flow) == {("L", "M", "s"): 10}
    assert ended(flow)


def test_the_verdict_of_one_drawn_judge_is_as_certain_as_the_judge_is(store: Store) -> None:
    """A judge that is asked alone anywhere else keeps its own probability."""
    jury = Jury({name: JudgeWeight(scale, weight=0.3) for name, scale in (("s", 0.1), ("L", 0.5), ("M", 1.0))})
    logit = math.log(SURE / (1.0 - SURE))
    flow = rotating(store)
    flow.snapshot = replace(flow.snapshot, jury=jury)
    for each in records(run(flow, lambda *_: SURE, 20)):
        (verdict,) = each.verdicts
        assert each.probability == pytest.approx(1 / (1 + math.exp(-jury.judges[verdict.judge].scale * logit)))
        assert each.weighed is not None
    alone = make_flow(memory(), None, "", first_judge=None)
    alone.snapshot = flow.snapshot
    assert {each.probability for each in records(run(alone, lambda *_: SURE, 5))} == {SURE}


def test_an_hourly_limit_counts_the_drawn_judges_and_all_where_all_see_a_pair(store: Store) -> None:
    """A limit of one call is enough for one judge; pairs for all are charged in full when they are drawn."""
    flow = run(rotating(store, judge_calls_per_hour=1000, all_judges_share=0.25), lambda *_: SURE, 40)
    with store.reading() as transaction:
        body = transaction.ledger.connection.exec_driver_sql("SELECT body FROM gates").scalar_one()
    verdicts = Counter(judge for record in records(flow) for judge in {each.judge for each in record.verdicts})
    assert BudgetState.from_json(body).recent.calls == verdicts.total()
    rotating(store, judge_calls_per_hour=1)


def test_the_price_is_that_of_the_drawn_judges_and_a_share_of_the_others() -> None:
    """1 + share × (J − 1) calls of one judge."""
    pool = rotating(memory(), all_judges_share=0.05).pool
    judges, stream = pool.stream_judges("default"), pool.stream("default")
    assert calls_per_pair(judges, stream) == 1
    assert len(judges) * asked_share(judges, stream) == pytest.approx(1 + 0.05 * 2)


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        ({"judges_per_pair": 4}, "judges_per_pair is 4, but the stream has 3 judges: s, L, M"),
        ({"first_judge": "s"}, "Leave one of the two out"),
        ({"all_judges_share": 0.0}, "all_judges_share"),
        ({"judge_calls_per_hour": 0.5}, "takes 1 calls"),
    ],
)
def test_settings_that_make_no_sense_are_refused(stream: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        rotating(memory(), **stream)


def test_canaries_and_pairs_that_are_judged_again_are_seen_by_all_judges() -> None:
    pool = rotating(memory()).pool
    assert pool.stream("default").judges_per_pair == 1
    assert {pool.stream(f"default@{derived}").judges_per_pair for derived in ("canaries", "rejudge:L")} == {0}
