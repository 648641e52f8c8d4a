"""Contradictions and verdicts in both orders in the counts, also of a store whose earlier version left them out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from msgspec import structs

from karma.messages import GenerateBatch, JudgeBatch, LearnBatch
from karma.store import Store
from karma.store.records import Count
from karma_scoring.handlers import learn
from tests.support.earlier_schema import take_back
from tests.support.memory import ENDPOINT, Flow, make_pool

#: P(first is better) of a prompt's two verdicts, and what they come to: source, wins and verdicts without a side.
SAID = {
    "sure": ((1.0, 0.0), ("orders", 1, 0)),
    "contradicts itself": ((1.0, 1.0), ("orders", 0, 1)),
    "has a probability": ((0.9, 0.2), ("judge", 1, 0)),
    "contradicts itself softly": ((0.9, 0.9), ("judge", 0, 1)),
}

#: What the migrations after 0009 add, next to the tables of budgets and spending.
JUDGE = {"kind": "openai", "both_orders": True, "model": {**ENDPOINT, "model": "j"}}
STREAMS = {"default": {"judges": ["j"]}, "probes": {"judges": ["v"]}, "default@kin": {"judges": ["j"]}}


def judged(store: Store, facts: Sequence[str] = ()) -> list[Count]:
    flow = Flow(store, make_pool("ab", judges=dict.fromkeys("jv", JUDGE), streams=STREAMS))
    flow.accept(*({"id": name, "prompt": name} for name in SAID))
    flow.accept({"id": "probe", "prompt": "2 + 2?", "skill": "facts"}, stream="probes")
    flow.accept(*({"id": f"{name}: facts", "prompt": f"2 + 3, {name}?", "skill": "facts"} for name in facts))
    if facts:
        flow.accept({"id": "unlabeled probe", "prompt": "2 + 4?"}, stream="probes")
    flow.accept({"id": "untaught", "prompt": "sure"}, stream="other")
    with store.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO streams (name, created_at) VALUES ('default@kin', 0)")
        connection.exec_driver_sql("UPDATE prompts SET stream = 'default@kin' WHERE stream = 'other'")
    names: dict[int, str] = {}
    while flow.dispatcher.admit() or flow.sent:
        for batch in flow.messages():
            result = flow.answer(batch) if isinstance(batch, GenerateBatch) else batch
            if isinstance(batch, JudgeBatch):
                with store.engine.connect() as connection:
                    names |= {row[0]: row[1] for row in connection.exec_driver_sql("SELECT id, prompt_id FROM prompts")}
                said = [SAID.get(names[one.prompt].split(":")[0], SAID["sure"])[0][one.order] for one in batch.items]
                result = flow.judge(batch)
                items = [structs.replace(one, probability=p) for one, p in zip(result.items, said, strict=True)]
                result = structs.replace(result, items=tuple(items))
            if isinstance(result, LearnBatch):
                with store.transaction() as transaction:
                    learn(result, transaction, verifiers=("v",))
            else:
                flow.handle(result)
    with store.reading() as transaction:
        return transaction.preferences.counts()


def by_source(counts: list[Count]) -> dict[tuple[str, str], tuple[float, float, float]]:
    sums: dict[tuple[str, str], Counter[str]] = {}
    for row in counts:
        cell = sums.setdefault((row.source, row.skill), Counter())
        cell.update(won=row.wins_a + row.wins_b, no_side=row.ties, squares=row.squares)
    return {key: (cell["won"], cell["no_side"], cell["squares"]) for key, cell in sums.items()}


def test_contradictions_count_as_verdicts_without_a_side(store: Store) -> None:
    found = by_source(judged(store))

    expected: dict[str, list[float]] = {"orders": [0, 0], "judge": [0, 0]}
    for _said, (source, won, no_side) in SAID.values():
        expected[source][0] += won
        expected[source][1] += no_side
    assert found == {
        **{(source, ""): (won, no_side, won + no_side) for source, (won, no_side) in expected.items()},
        ("probe", "facts"): (1.0, 0.0, 1.0),
    }


@pytest.mark.parametrize("facts", [(), ("contradicts itself", "contradicts itself softly")], ids=["apart", "shared"])
def test_counts_of_an_earlier_version_get_their_sources(store: Store, facts: Sequence[str]) -> None:
    """Also where a judge contradicted itself beside probes: only the probes were counted there."""
    right = judged(store, facts)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM competency_counts WHERE source = 'orders'")
        connection.exec_driver_sql("UPDATE competency_counts SET ties = 0")
        connection.exec_driver_sql("DELETE FROM competency_counts WHERE wins_a + wins_b = 0")
    take_back(store, "0008")

    store.migrate()

    with store.reading() as transaction:
        made = transaction.preferences.counts()
    assert by_source(made) == pytest.approx(by_source(right))
