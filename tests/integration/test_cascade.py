"""A stream that asks the larger judges only where the first one's verdict calls for them, through the handlers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from msgspec import structs

from karma.errors import SettingsError
from karma.messages import GenerateBatch, JudgeBatch, LearnBatch
from karma.ranking.judge_plan import CascadeRule
from karma.ranking.orders import SecondOrder
from karma.ranking.verdict_sources import HUMAN
from karma.store import Store
from karma.store.judged_pairs import judged_pairs
from karma.store.jury_verdicts import human_verdicts, jury_verdicts
from karma.store.pair_rows import pair_records_after
from karma.store.records import PairRecord
from karma.store.requeue import bring_back, requeue_incomplete, requeue_unscored
from karma.store.schema import verdicts
from tests.support.memory import ENDPOINT, Flow, make_pool

#: Doubts a verdict whose certainty is under about 2 logits.
RULE = CascadeRule((-4.0, 3.0, 0.0, 0.0, 0.0, 0.0), 200)
SURE, UNSURE = 0.98, 0.6

#: (judge, pair, order) → P(a is better), or None for a failure.
Says = Callable[[str, int, int], float | None]


def make_flow(store: Store, rule: CascadeRule | None = RULE, larger: str = "L", **stream: Any) -> Flow:
    """A small judge `s` before the judges named by the letters of `larger`; an audit that draws no pair."""
    judge = {"kind": "openai", "model": {**ENDPOINT, "model": "j"}}
    settings = {"first_judge": "s", "orders": "one", "judge_audit_share": 1e-9, **stream}
    flow = Flow(store, make_pool("ab", judges=dict.fromkeys(("s", *larger), judge), stream=settings))
    flow.snapshot = replace(flow.snapshot, cascades={("s", *larger): rule} if rule else {})
    return flow


def run(flow: Flow, says: Says, prompts: int = 20, deliveries: int = 2) -> Flow:
    """Accept prompts and run all to its end; each message comes twice."""
    flow.accept(*({"id": f"p{n}", "prompt": f"Say {n}."} for n in range(prompts)))
    return finish(flow, says, deliveries)


def finish(flow: Flow, says: Says, deliveries: int = 2) -> Flow:
    """Run all to its end; each verdict comes in a message of its own."""
    while flow.dispatcher.admit() or flow.sent:
        for batch in flow.messages():
            if isinstance(batch, JudgeBatch):
                results = verdicts_on(flow, batch, says)
            else:
                results = [flow.answer(batch) if isinstance(batch, GenerateBatch) else batch]
            for result in results:
                for _ in range(deliveries):
                    flow.handle(result)
    return flow


def verdicts_on(flow: Flow, batch: JudgeBatch, says: Says) -> list[LearnBatch]:
    result = flow.judge(batch)
    found = []
    for one in result.items:
        better_a = says(batch.judge, one.pair, one.order)
        shown_first = None if better_a is None else better_a if one.order == 0 else 1.0 - better_a
        item = structs.replace(one, probability=shown_first, failure="timed out" if better_a is None else None)
        found.append(structs.replace(result, items=(item,)))
    return found


def records(flow: Flow) -> list[PairRecord]:
    with flow.store.reading() as transaction:
        return pair_records_after(transaction.ledger.connection, 0, 1_000)


def asked(flow: Flow) -> Counter[tuple[str, ...]]:
    """The judges with a verdict, by pair."""
    return Counter(tuple(sorted(each.judge for each in record.verdicts)) for record in records(flow))


def ended(flow: Flow) -> bool:
    with flow.store.reading() as transaction:
        query = transaction.ledger.connection.exec_driver_sql
        states = {row[0] for row in query("SELECT state FROM prompts")}
        return states == {"done"} and not query("SELECT 1 FROM work_items").all()


def always(small: float | None, larger: float | None = 0.1) -> Says:
    return lambda judge, _pair, _order: small if judge == "s" else larger


def test_a_sure_first_verdict_is_the_only_call_and_makes_the_label(store: Store) -> None:
    flow = run(make_flow(store), always(SURE))
    assert asked(flow) == {("s",): 20}
    assert {(each.outcome, each.a_is_chosen) for each in records(flow)} == {("decisive", True)}
    assert ended(flow)


@pytest.mark.parametrize("small", [UNSURE, 0.5, None])
def test_an_unsure_a_tied_and_a_failed_first_verdict_call_for_the_larger_judge_whose_label_it_is(
    store: Store, small: float | None
) -> None:
    flow = run(make_flow(store), always(small))
    assert asked(flow) == {("L", "s"): 20}
    assert {(each.outcome, each.a_is_chosen) for each in records(flow)} == {("decisive", False)}
    assert ended(flow)


def test_the_label_is_the_first_judges_where_the_larger_one_fails(store: Store) -> None:
    flow = run(make_flow(store), always(UNSURE, None))
    assert asked(flow) == {("L", "s"): 20}
    assert {(each.outcome, each.a_is_chosen) for each in records(flow)} == {("decisive", True)}
    assert ended(flow)


def test_without_a_rule_all_judges_are_asked_at_once(store: Store) -> None:
    flow = run(make_flow(store, rule=None), always(SURE))
    assert asked(flow) == {("L", "s"): 20}
    assert {each.pair.judges.why for each in records(flow) if each.pair.judges} == {"unknown"}


def test_an_audit_shows_a_share_of_the_pairs_to_all_judges(store: Store) -> None:
    flow = run(make_flow(store, judge_audit_share=0.25), always(SURE), 80)
    found = asked(flow)
    assert found.keys() == {("s",), ("L", "s")}
    assert 8 <= found["L", "s"] <= 36
    assert all(
        (each.pair.judges.why == "audit") == (not each.a_is_chosen) for each in records(flow) if each.pair.judges
    )


def test_the_larger_judges_wait_for_both_orders_of_the_first_and_are_asked_in_theirs(store: Store) -> None:
    """The first judge contradicts itself, which calls for the larger judges: in both orders too."""
    flow = make_flow(store, larger="LM", orders="both")
    run(flow, lambda judge, _pair, order: (SURE, 1 - SURE)[order] if judge == "s" else 0.1)
    assert asked(flow) == {("L", "L", "M", "M", "s", "s"): 20}
    assert ended(flow)


def test_an_unsure_verdict_in_one_order_waits_for_the_other_one(store: Store) -> None:
    """Together they are sure enough: the larger judge is not asked."""
    flow = run(make_flow(store, orders="both"), lambda _judge, _pair, order: (0.75, 1.0)[order])
    assert asked(flow) == {("s", "s"): 20}


def test_the_second_order_of_the_first_judge_goes_before_the_larger_judges(store: Store) -> None:
    """Adaptive orders: the first verdict in doubt is asked again, and both together are sure enough."""
    flow = make_flow(store, orders="adaptive", order_audit_share=1e-9)
    flow.snapshot = replace(flow.snapshot, second_orders={"s": SecondOrder((-5.0, 0.0, 0.0, 0.0), 200)})
    run(flow, always(SURE))
    assert asked(flow) == {("s", "s"): 20}
    run(flow, always(UNSURE))  # the same prompts: nothing new
    assert ended(flow)


def test_the_weights_of_the_jury_leave_out_the_first_judge_where_it_called_for_the_others(store: Store) -> None:
    """Three judges: on pairs of the audit all count, elsewhere the two larger ones."""
    flow = run(make_flow(store, larger="LM", judge_audit_share=0.25), always(UNSURE), 40)
    audited = {each.pair.id for each in records(flow) if each.pair.judges and each.pair.judges.why == "audit"}
    with store.reading() as transaction:
        found = jury_verdicts(transaction.ledger.connection, 1_000).verdicts
    assert {each.pair for each in found if each.judge == "s"} == audited
    assert Counter(each.judge for each in found) == {"s": len(audited), "L": 40, "M": 40}


def test_self_preference_and_people_leave_out_the_larger_judge_where_the_first_called_for_it(store: Store) -> None:
    """Of these pairs nothing is known but what the first judge chose; of its own verdicts all count."""
    flow = run(make_flow(store, judge_audit_share=0.25), always(UNSURE), 40)
    pairs = records(flow)
    audited = {each.pair.id for each in pairs if each.pair.judges and each.pair.judges.why == "audit"}
    assert 0 < len(audited) < 40
    human = {"judge": "ann", "template_hash": HUMAN, "shown": 0, "probability": 1.0, "created_at": 1.0}
    with store.engine.begin() as connection:
        connection.execute(verdicts.insert(), [{**human, "pair": each.pair.id} for each in pairs])
    with store.reading() as transaction:
        connection = transaction.ledger.connection
        read = judged_pairs(connection, 100, lambda _stream: 0.05)
        found = human_verdicts(connection, 100)
    assert Counter(judge for pair in read for judge in pair.sides) == {"s": 40, "ann": 40, "L": len(audited)}
    assert {each.pair for each in found.verdicts if each.judge == "L"} == audited
    assert Counter(each.judge for each in found.verdicts) == {"s": 40, "ann": 40, "L": len(audited)}


def test_a_requeue_asks_again_for_what_failed_and_for_nothing_else(store: Store) -> None:
    """First all judges fail; then the larger one succeeds, and then the first."""
    flow = run(make_flow(store), always(None, None))
    assert list(bring_back(store, requeue_unscored)) == [20]
    finish(flow, always(None, 0.1))
    assert asked(flow) == {("L", "s"): 20}
    assert list(bring_back(store, partial(requeue_incomplete, lambda _connection, _ids: None))) == [20]
    finish(flow, always(SURE, None))
    assert asked(flow) == {("L", "s"): 20}
    assert {(each.outcome, each.a_is_chosen) for each in records(flow)} == {("decisive", False)}
    assert ended(flow)


def test_pairs_that_are_judged_again_and_canaries_are_seen_by_all_judges_of_their_stream(store: Store) -> None:
    pool = make_flow(store).pool
    assert pool.stream("default").first_judge == "s"
    assert pool.stream("default@rejudge:L").first_judge is None
    assert pool.stream("default@canaries").first_judge is None


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        ({"first_judge": "S"}, "first_judge is 'S', expected a judge of the stream: s, L"),
        ({"judges": ["s"]}, "the only judge of the stream"),
        ({"judge_audit_share": 0.0}, "judge_audit_share"),
        ({"most_judge_doubt": 1.0}, "most_judge_doubt"),
        ({"judge_calls_per_hour": 1}, "takes 2 calls"),
    ],
)
def test_settings_that_make_no_sense_are_refused(store: Store, stream: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        make_flow(store, **stream)
