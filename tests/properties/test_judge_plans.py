"""However verdicts arrive, each pair gets the verdicts that its plan calls for, and is resolved once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from msgspec import structs

from karma.messages import GenerateBatch, JudgeBatch, LearnBatch
from karma.ranking.judge_plan import CascadeRule, JudgePlan
from karma.ranking.orders import OrderPlan, SecondOrder
from karma.store.cascade_quality import calls_for_larger
from karma.store.pair_rows import pair_records_after
from karma.store.records import PairRecord
from karma.verdicts import resolve
from tests.integration.test_cascade import make_flow
from tests.support.memory import Flow
from tests.support.stores import memory

#: Doubts a verdict whose certainty is under about 2 logits, and one whose two orders contradict each other.
RULE = CascadeRule((-4.0, 3.0, 0.0, 0.0, -9.0, 0.0), 200)
#: Doubts a verdict for the response shown first.
SECOND = SecondOrder((0.0, 0.0, -5.0, 0.0), 200)
#: Of the response shown first. One unsure and one sure verdict for the same side are sure together.
SAID = (0.0, 0.25, 0.5, 0.75, 1.0, None)
JUDGES = ("s", "L", "M")
#: Each example runs a whole pipeline: making a failing one smaller would take minutes.
UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)


@settings(max_examples=20, phases=UNSHRUNK)
@given(orders=st.sampled_from(["both", "one", "adaptive"]), random=st.randoms(use_true_random=False))
def test_each_pair_of_a_cascade_gets_what_its_plan_calls_for_and_is_resolved_once(orders: str, random: Random) -> None:
    check(orders, {"judge_audit_share": 0.3}, random, prompts=6)


@settings(max_examples=10, phases=UNSHRUNK)
@given(
    orders=st.sampled_from(["both", "one", "adaptive"]),
    number=st.sampled_from([1, 2]),
    random=st.randoms(use_true_random=False),
)
def test_each_pair_of_a_rotation_gets_what_its_plan_calls_for_and_is_resolved_once(
    orders: str, number: int, random: Random
) -> None:
    check(orders, {"judges_per_pair": number, "first_judge": None, "all_judges_share": 0.3}, random)


def check(orders: str, stream: dict[str, Any], random: Random, prompts: int = 3) -> None:
    """Run some prompts to their end; verdicts come one by one, in any order, some of them twice."""
    flow = make_flow(memory(), RULE, "LM", orders=orders, order_audit_share=0.3, **stream)
    flow.snapshot = replace(flow.snapshot, second_orders=dict.fromkeys(JUDGES, SECOND))
    flow.accept(
        *({"id": f"p{random.randrange(1000)}-{number}", "prompt": f"Say {number}."} for number in range(prompts))
    )
    said: dict[tuple[str, int, int], float | None] = {}
    on_their_way: list[LearnBatch] = []
    delivered: list[LearnBatch] = []
    while flow.dispatcher.admit() or flow.sent or on_their_way:
        for batch in flow.messages():
            if isinstance(batch, JudgeBatch):
                on_their_way += judged(flow, batch, said, random)
            else:
                flow.handle(flow.answer(batch) if isinstance(batch, GenerateBatch) else batch)
        if on_their_way:
            delivered.append(on_their_way.pop(random.randrange(len(on_their_way))))
            flow.handle(delivered[-1])
            if random.random() < 0.5:
                flow.handle(random.choice(delivered))
    with flow.store.reading() as transaction:
        records = pair_records_after(transaction.ledger.connection, 0, 100)
        assert not transaction.ledger.connection.exec_driver_sql("SELECT 1 FROM work_items").all()
    assert len(records) == prompts
    for record in records:
        assert Counter((each.judge, each.shown) for each in record.verdicts) == Counter(called_for(record, said))
        assert record.pair.awaited == 0
        assert record.outcome == expected_outcome(record)


def judged(
    flow: Flow, batch: JudgeBatch, said: dict[tuple[str, int, int], float | None], random: Random
) -> list[LearnBatch]:
    """One message a verdict, so that the two orders of a judge may come apart; each is asked for once."""
    result = flow.judge(batch)
    for number, item in enumerate(result.items):
        key = item.judge, item.pair, item.order
        assert key not in said
        said[key] = random.choice(SAID) if random.random() < 0.4 else for_better(item.pair, item.order, random)
        failure = "timed out" if said[key] is None else None
        answered = structs.replace(item, probability=said[key], failure=failure)
        result = structs.replace(result, items=(*result.items[:number], answered, *result.items[number + 1 :]))
    return [structs.replace(result, items=(item,)) for item in result.items]


def for_better(pair: int, order: int, random: Random) -> float:
    """For one and the same response in both orders, unsure or sure: an unsure verdict waits for the other order."""
    for_a = random.choice((0.75, 1.0)) if pair % 2 else random.choice((0.25, 0.0))
    return for_a if order == 0 else 1.0 - for_a


def called_for(record: PairRecord, said: dict[tuple[str, int, int], float | None]) -> list[tuple[str, int]]:
    """The (judge, order) that the stored plans call for, given what was said."""
    plan = record.pair.judges
    assert plan is not None
    asked = [each for judge in plan.at_once for each in of_judge(record, judge, said)]
    if plan.later and calls_for_larger(record.pair, [each for each in record.verdicts if each.judge == plan.first]):
        asked += [each for judge in plan.later for each in of_judge(record, judge, said)]
    return asked


def of_judge(record: PairRecord, judge: str, said: dict[tuple[str, int, int], float | None]) -> list[tuple[str, int]]:
    """The orders of one judge: a second one where the response shown first was preferred, or no side taken."""
    orders: OrderPlan | None = record.pair.orders
    if orders is None:
        return [(judge, 0), (judge, 1)]
    first = orders.first[judge]
    probability = said[judge, record.pair.id, first]
    again = orders.setting == "adaptive" and (orders.audited or probability is None or probability > 0.45)
    return [(judge, first), (judge, 1 - first)] if again else [(judge, first)]


def expected_outcome(record: PairRecord) -> str:
    """By the larger judges where one is valid, else by the first; in rotation by all that were asked."""
    plan: JudgePlan | None = record.pair.judges
    others = [each for each in record.verdicts if plan is None or each.judge != plan.first]
    valid = any(each.probability is not None for each in others)
    return resolve(others if valid else record.verdicts).outcome
