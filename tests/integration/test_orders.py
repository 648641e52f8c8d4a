"""A stream that asks one order, or the second only where the first calls for it, through the handlers."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from karma.config.pool import Pool
from karma.errors import SettingsError
from karma.messages import GenerateBatch, JudgeBatch
from karma.ranking.orders import SecondOrder
from karma.store import Store
from tests.support.memory import Flow, make_pool

#: Doubts a verdict for the response that was shown first, and no other.
RULE = SecondOrder((0.0, 0.0, -5.0, 0.0), 200)


def run(
    store: Store, prompts: int = 40, rule: SecondOrder | None = RULE, says: float | None = None, **stream: Any
) -> Flow:
    """Every prompt to its end; each message comes twice. `says`: of the response shown first."""
    flow = Flow(store, make_pool("ab", stream=stream))
    flow.snapshot = replace(flow.snapshot, second_orders={"j": rule} if rule else {})
    flow.accept(*({"id": f"p{n}", "prompt": f"Say {n}."} for n in range(prompts)))
    while flow.dispatcher.admit() or flow.sent:
        for batch in flow.messages():
            result = flow.answer(batch) if isinstance(batch, GenerateBatch) else batch
            if isinstance(batch, JudgeBatch):
                result = flow.judge(batch, says)
            flow.handle(result)
            flow.handle(result)
    return flow


def rows(flow: Flow, query: str) -> list[tuple[Any, ...]]:
    with flow.store.reading() as transaction:
        return [tuple(row) for row in transaction.ledger.connection.exec_driver_sql(query)]


def asked(flow: Flow) -> Counter[tuple[int, ...]]:
    """The orders with a verdict, by pair."""
    by_pair: dict[int, list[int]] = {}
    for pair, shown in rows(flow, "SELECT pair, shown FROM verdicts ORDER BY pair, id"):
        by_pair.setdefault(pair, []).append(shown)
    return Counter(tuple(orders) for orders in by_pair.values())


def ended(flow: Flow) -> bool:
    states = {row[0] for row in rows(flow, "SELECT state FROM prompts")}
    return states == {"done"} and not rows(flow, "SELECT 1 FROM work_items")


def test_by_default_both_orders_of_every_pair_are_asked_and_nothing_new_is_stored(store: Store) -> None:
    flow = run(store, 6)
    assert asked(flow) == {(0, 1): 6}
    assert not [row for row in rows(flow, "SELECT reasons FROM pairs") if "orders" in row[0]]


def test_one_order_is_drawn_for_each_pair(store: Store) -> None:
    """Both orders are drawn about equally often, and the counts are of single verdicts."""
    flow = run(store, says=1.0, orders="one")
    found = asked(flow)
    assert found.keys() == {(0,), (1,)}
    assert 8 <= found[0,] <= 32
    assert ended(flow)
    assert rows(flow, "SELECT DISTINCT source FROM competency_counts") == [("judge",)]


def test_the_second_order_is_asked_where_the_first_verdict_calls_for_it(store: Store) -> None:
    """A judge that always names the first is doubted each time; its contradictions count as the first said."""
    flow = run(store, says=1.0, orders="adaptive", order_audit_share=1e-9)
    found = asked(flow)
    assert found.keys() == {(0, 1), (1, 0)}
    assert ended(flow)
    assert rows(flow, "SELECT DISTINCT outcome FROM resolutions") == [("inconsistent",)]
    assert rows(flow, "SELECT source, sum(ties), sum(wins_a + wins_b) FROM competency_counts GROUP BY source") == [
        ("judge", 0.0, 40.0)
    ]


def test_a_first_verdict_that_is_not_doubted_is_the_only_call(store: Store) -> None:
    flow = run(store, says=0.0, orders="adaptive", order_audit_share=1e-9)
    assert asked(flow).keys() == {(0,), (1,)}
    assert ended(flow)


def test_an_audit_asks_both_orders_of_a_share_of_the_pairs(store: Store) -> None:
    flow = run(store, 80, says=0.0, orders="adaptive", order_audit_share=0.25)
    both = sum(count for orders, count in asked(flow).items() if len(orders) == 2)
    assert 8 <= both <= 36
    assert ended(flow)


def test_while_nothing_is_known_of_a_judge_both_orders_are_asked(store: Store) -> None:
    flow = run(store, 6, rule=None, orders="adaptive")
    assert all(len(orders) == 2 for orders in asked(flow))


def test_a_failed_first_verdict_calls_for_the_second(store: Store) -> None:
    flow = Flow(store, make_pool("ab", stream={"orders": "adaptive", "order_audit_share": 1e-9}))
    flow.snapshot = replace(flow.snapshot, second_orders={"j": RULE})
    flow.accept({"prompt": "Say."})
    calls = []
    while flow.dispatcher.admit() or flow.sent:
        for batch in flow.messages():
            result = flow.answer(batch) if isinstance(batch, GenerateBatch) else batch
            if isinstance(batch, JudgeBatch):
                calls += [one.order for one in batch.items]
                result = flow.judge(batch, 1.0, "timed out" if len(calls) == 1 else None)
            flow.handle(result)
    assert sorted(calls) == [0, 1]
    assert rows(flow, "SELECT outcome FROM resolutions") == [("decisive",)]
    assert ended(flow)


def test_the_second_order_has_the_priority_of_its_prompt(store: Store) -> None:
    flow = Flow(store, make_pool("ab", stream={"orders": "adaptive", "order_audit_share": 1e-9}))
    flow.snapshot = replace(flow.snapshot, second_orders={"j": RULE})
    flow.accept({"prompt": "Say."})
    with store.transaction() as transaction:
        transaction.ledger.connection.exec_driver_sql("UPDATE prompts SET priority = 7")
    priorities = []
    while flow.dispatcher.admit() or flow.sent:
        for batch in flow.messages():
            result = flow.answer(batch) if isinstance(batch, GenerateBatch) else batch
            if isinstance(batch, JudgeBatch):
                priorities.append(batch.header.priority)
                result = structs.replace(flow.judge(batch, 1.0), header=structs.replace(batch.header, priority=0))
            flow.handle(result)
    assert priorities == [7, 7]


def pool_with(**stream: Any) -> Pool:
    return make_pool("ab", stream=stream)


def test_an_hourly_limit_counts_the_calls_that_a_pair_may_take() -> None:
    pool_with(orders="one", judge_calls_per_hour=1)
    for orders in ("both", "adaptive"):
        with pytest.raises(SettingsError, match="takes 2 calls"):
            pool_with(orders=orders, judge_calls_per_hour=1)


@pytest.mark.parametrize("stream", [{"orders": "all"}, {"order_audit_share": 0.0}, {"most_order_doubt": 1.0}])
def test_settings_that_make_no_sense_are_refused(stream: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        pool_with(**stream)
