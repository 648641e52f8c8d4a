"""Judges that share pairs get weights from the store, their labels use them, and everything says which."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from karma.messages import JudgeBatch, LearnBatch
from karma.ranking.jury import Jury
from karma.store import Store
from karma.store.pair_rows import pair_records
from karma.store.schema import resolutions, verdicts
from karma_monitor.explain import explain
from karma_monitor.explanation import sentences
from karma_monitor.live_status import LiveStatus
from karma_monitor.status import status
from karma_scoring.fit.refit import Refitter
from tests.support.memory import ENDPOINT, Flow, make_pool
from tests.support.stores import memory

RIGHT = {"good": 0.9, "fair": 0.75, "poor": 0.6, "echo": 0.6}


class JuryFlow(Flow):
    """A stream with four judges; one response of each pair is better by its length, and `echo` repeats `poor`."""

    def judge(self, batch: JudgeBatch, probability: float | None = None, failure: str | None = None) -> LearnBatch:
        said = super().judge(batch)
        items = []
        for one, verdict in zip(batch.items, said.items, strict=True):
            seed = [one.pair, sorted(RIGHT).index("poor" if batch.judge == "echo" else batch.judge)]
            is_right = np.random.default_rng(seed).random() < RIGHT[batch.judge]
            assert verdict.probability is not None
            p = float(round(verdict.probability)) if is_right else 1.0 - float(round(verdict.probability))
            items.append(_with(verdict, p))
        return LearnBatch(header=said.header, items=tuple(items))


def _with(verdict: Any, probability: float) -> Any:
    return type(verdict)(
        **{name: getattr(verdict, name) for name in verdict.__struct_fields__} | {"probability": probability}
    )


@pytest.fixture
def flow() -> JuryFlow:
    judges = {name: {"kind": "openai", "both_orders": False, "model": {**ENDPOINT, "model": name}} for name in RIGHT}
    return JuryFlow(memory(), make_pool("abc", judges=judges))


def judged(flow: JuryFlow, prompts: int, since: int = 0) -> None:
    flow.accept(*({"prompt": f"{'x' * (n % 7)} {n}", "id": str(n)} for n in range(since, since + prompts)))
    flow.finish()


def refitted(flow: JuryFlow) -> Jury:
    snapshot = Refitter(flow.store, flow.pool).refit_if_due() or Refitter(flow.store, flow.pool).refit(1)
    flow.snapshot = snapshot
    return snapshot.jury


def newest_pair(store: Store) -> int:
    with store.reading() as transaction:
        return int(transaction.ledger.connection.execute(select(resolutions.c.pair)).scalars().all()[-1])


def test_before_an_estimate_labels_are_means(flow: JuryFlow) -> None:
    judged(flow, 5)
    with flow.store.reading() as transaction:
        stored = transaction.ledger.connection.execute(select(resolutions.c.weights)).scalars().all()
    assert stored == [None] * 5
    assert explain(flow.store, newest_pair(flow.store))["resolution"]["weighed"] is None


def test_weights_reach_labels_and_whoever_asks_for_them(flow: JuryFlow) -> None:
    judged(flow, 300)
    jury = refitted(flow)
    assert jury.judges["good"].weight > jury.judges["fair"].weight > jury.judges["poor"].weight
    assert jury.judges["poor"].overlap["echo"] > 0.8
    judged(flow, 5, since=300)
    pair = newest_pair(flow.store)
    with flow.store.reading() as transaction:
        (record,) = pair_records(transaction.ledger.connection, [pair])
        stored = transaction.ledger.connection.execute(
            select(resolutions.c.weights).where(resolutions.c.pair == pair)
        ).scalar_one()
    assert json.loads(stored).keys() == RIGHT.keys()
    assert record.weighed is not None
    assert sum(each.weight for each in record.weighed.values()) == pytest.approx(1.0)
    facts = explain(flow.store, pair)
    assert facts["resolution"]["weighed"]["good"]["weight"] == pytest.approx(jury.judges["good"].weight, abs=1e-4)
    assert f"Weighed: {jury.judges['good'].weight:.2f} good, " in sentences(facts, 100)
    shown = status(flow.store, None, flow.pool)["jury"]
    assert next(iter(shown)) == "good"
    assert shown["good"]["weight"] == pytest.approx(jury.judges["good"].weight)
    assert shown["good"]["low"] < shown["good"]["accuracy"] < shown["good"]["high"]
    live = {one["judge"]: one["jury"] for one in LiveStatus(flow.store, None, flow.pool).read()["quality"]["judges"]}
    assert live["good"]["accuracy"] == shown["good"]["accuracy"]


def test_one_judge_has_no_weight_and_costs_no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = Flow(memory(), make_pool("abc"))
    flow.accept(*({"prompt": f"p {n}", "id": str(n)} for n in range(30)))
    flow.finish()
    monkeypatch.setattr("karma_scoring.fit.judges.jury_weights.jury_verdicts", lambda *_: pytest.fail("read"))
    assert Refitter(flow.store, flow.pool).refit(1).jury == Jury()
    flow.snapshot = replace(flow.snapshot, jury=Jury())
    with flow.store.reading() as transaction:
        connection = transaction.ledger.connection
        assert connection.execute(select(resolutions.c.weights)).scalars().all() == [None] * 30
        assert len(connection.execute(select(verdicts.c.id)).all()) == 60
