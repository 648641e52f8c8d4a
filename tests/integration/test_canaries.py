"""Canaries: pairs whose answer is known measure a stream's judges, and are never preferences."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from karma.config.canaries import ATTACKED, RIGHT, WRONG
from karma.errors import UnreadableReferenceError
from karma.messages import GenerateBatch, JudgeBatch, LearnBatch
from karma.store import Store
from karma.store.counting import outcomes, resolutions_by_outcome
from karma.store.export_filter import ExportFilter
from karma.store.pair_quality import PairQuality
from karma.store.pair_rows import pair_records_after
from karma.store.requeue import requeue_unscored
from karma.store.schema import pairs, prompts, responses, verdicts
from karma_gateway.exports import rows
from karma_monitor.explain import explain
from karma_monitor.explanation import sentences
from karma_monitor.figures.judges.canaries import canary_figures
from karma_monitor.figures.quality import default_margin
from karma_monitor.live_status import LiveStatus
from karma_monitor.report import collect
from karma_monitor.status import status
from tests.support.memory import ENDPOINT, Flow, make_pool

PROMPTS = 40
JUDGES = {name: {"kind": "openai", "model": {**ENDPOINT, "model": name}} for name in ("sharp", "taken")}


class Trial(Flow):
    """`sharp` knows the right responses; `taken` does too, but for those with an attack inside, which it prefers."""

    def judge(self, batch: JudgeBatch, probability: float | None = None, failure: str | None = None) -> LearnBatch:
        with self.store.reading() as transaction:
            query = select(responses.c.text, responses.c.sample).join(prompts, prompts.c.id == responses.c.prompt)
            found = transaction.ledger.connection.execute(query.where(prompts.c.stream == batch.header.stream))
            samples: dict[str, int] = dict(tuple(row) for row in found)
        worth = {RIGHT: 1, WRONG: 0, ATTACKED: 0 if batch.judge == "sharp" else 2}
        given = super().judge(batch, 0.5)
        if not batch.header.stream.endswith("@canaries"):
            return super().judge(batch)
        items = []
        for one, asked in zip(given.items, batch.items, strict=True):
            fields = {name: getattr(one, name) for name in one.__struct_fields__}
            first, second = worth[samples[asked.first]], worth[samples[asked.second]]
            items.append(type(one)(**{**fields, "probability": 0.9 if first > second else 0.1}))
        return LearnBatch(header=given.header, items=tuple(items))


def run(store: Store, share: float = 0.5, deliveries: int = 1, **stream: Any) -> Trial:
    pool = make_pool("ab", judges=JUDGES, streams={"mine": {"canary_share": share, **stream}})
    flow = Trial(store, pool)
    flow.accept(*({"prompt": f"prompt {n}", "id": f"p{n}", "skill": "talk"} for n in range(PROMPTS)), stream="mine")
    flow.finish(deliveries)
    return flow


def ids(store: Store, stream: str) -> list[str]:
    with store.reading() as transaction:
        query = select(prompts.c.prompt_id).where(prompts.c.stream == stream).order_by(prompts.c.id)
        return list(transaction.ledger.connection.execute(query).scalars())


def learned(store: Store) -> float:
    with store.reading() as transaction:
        return transaction.preferences.counted_verdicts()


def test_a_share_of_the_prompts_brings_a_canary_once_however_often_messages_come(store: Store) -> None:
    flow = run(store, deliveries=3)
    drawn = ids(store, "mine@canaries")
    assert PROMPTS // 4 < len(drawn) < 3 * PROMPTS // 4
    assert len(set(drawn)) == len(drawn)
    assert set(drawn) <= set(ids(store, "mine"))
    with store.reading() as transaction:
        states = transaction.ledger.count_states(["mine@canaries"])
    assert states["done"] == len(drawn)
    flow.accept({"prompt": "one more", "id": "p999"}, stream="mine")
    flow.finish()
    assert ids(store, "mine@canaries")[: len(drawn)] == drawn


def test_without_a_share_there_is_none(store: Store) -> None:
    run(store, share=0.0)
    assert ids(store, "mine@canaries") == []
    with store.reading() as transaction:
        assert canary_figures(transaction.ledger.connection, default_margin) == []


def test_canaries_are_no_preferences_teach_nothing_and_are_in_no_export(store: Store) -> None:
    run(store)
    assert learned(store) == PROMPTS
    with store.reading() as transaction:
        connection = transaction.ledger.connection
        resolved = resolutions_by_outcome(connection)
        assert resolved["canary", None] == len(ids(store, "mine@canaries"))
        assert sum(outcomes(resolved).values()) == PROMPTS
        records = pair_records_after(connection, 0, 1000)
        assert requeue_unscored(connection) == []
    for stream in (None, "mine@canaries"):
        exported = list(rows(store, "jsonl", ExportFilter.usual(stream)))
        assert len(exported) == (PROMPTS if stream is None else 0)
    quality = PairQuality()
    for record in records:
        quality.add(record)
    assert {stream for stream, _policy in quality.policies} == {"mine"}
    assert sum(quality.wins.values()) == PROMPTS


def test_each_judge_is_measured_on_clean_and_on_attacked_canaries(store: Store) -> None:
    flow = run(store)
    with store.reading() as transaction:
        sharp, taken = canary_figures(transaction.ledger.connection, default_margin, "mine")
        assert canary_figures(transaction.ledger.connection, default_margin, "another") == []
    assert (sharp["judge"], taken["judge"]) == ("sharp", "taken")
    assert sharp["clean"] + sharp["attacked"] == len(ids(store, "mine@canaries"))
    assert min(sharp["clean"], sharp["attacked"]) > 0
    assert (sharp["accuracy"], sharp["attack_success"], sharp["failed"]) == (1.0, 0.0, 0)
    assert (taken["accuracy"], taken["attack_success"]) == (1.0, 1.0)
    assert 0.0 < taken["attack_success_low"] < taken["attack_success_high"] == 1.0
    found = status(store, None, flow.pool)
    assert found["canaries"] == [sharp, taken]
    assert LiveStatus(store, None, flow.pool).read()["canaries"] == [sharp, taken]
    report = collect(store, flow.pool)["answers"]["/api/quality"]
    assert report[""]["canaries"] == [sharp, taken]
    assert sum(found["preferences"].values()) == PROMPTS


def test_a_prompt_with_a_right_and_a_wrong_response_of_its_own_brings_these(store: Store) -> None:
    pool = make_pool("ab", judges=JUDGES, streams={"mine": {"canary_share": 0.5, "checker": "exact"}})
    flow = Trial(store, pool)
    flow.check = lambda text, reference: float(text == reference)
    lines = [
        {"prompt": f"q{n}", "id": f"p{n}", "reference": f"{n}", "responses": {"a": f"{n}", "b": f"not {n}"}}
        for n in range(PROMPTS)
    ]
    flow.accept(*lines, stream="mine")
    flow.finish()
    with store.reading() as transaction:
        query = (
            select(prompts.c.prompt_id, responses.c.sample, responses.c.model, responses.c.text)
            .join(responses, responses.c.prompt == prompts.c.id)
            .where(prompts.c.stream == "mine@canaries")
        )
        found = list(transaction.ledger.connection.execute(query))
    assert len(found) > PROMPTS // 2
    for prompt, sample, model, text in found:
        number = prompt.removeprefix("p")
        assert model == ("a" if sample == RIGHT else "b")
        assert sample != RIGHT or text == number
        assert sample != WRONG or text == f"not {number}"


def test_a_built_in_question_cannot_be_unreadable_to_the_streams_checker(store: Store) -> None:
    pool = make_pool("ab", judges=JUDGES, streams={"mine": {"canary_share": 0.5, "checker": "number"}})
    flow = Trial(store, pool)

    def check(_text: str, _reference: str) -> float | None:
        raise UnreadableReferenceError("no number")

    flow.accept(*({"prompt": f"q{n}", "id": f"p{n}"} for n in range(10)), stream="mine")
    flow.check = check
    flow.finish()
    with store.reading() as transaction:
        assert transaction.ledger.count_states(["mine@canaries"])["dead"] == 0
    assert ids(store, "mine@canaries")


def test_canaries_on_which_a_judge_failed_are_in_neither_share(store: Store) -> None:
    flow = run(store)
    with store.transaction() as transaction:
        failed = {"probability": None, "failure": "connection dropped"}
        transaction.ledger.connection.execute(verdicts.update().where(verdicts.c.judge == "taken").values(**failed))
    with store.reading() as transaction:
        _sharp, taken = canary_figures(transaction.ledger.connection, default_margin)
    assert (taken["clean"], taken["attacked"]) == (0, 0)
    assert (taken["accuracy"], taken["attack_success"]) == (None, None)
    assert taken["failed"] == len(ids(flow.store, "mine@canaries"))


def test_a_canary_is_explained_as_what_it_is(store: Store) -> None:
    run(store)
    with store.reading() as transaction:
        query = select(pairs.c.id).where(pairs.c.policy == "canaries").limit(1)
        pair = transaction.ledger.connection.execute(query).scalar_one()
    text = sentences(explain(store, pair), 100)
    assert "No policy chose it: it is a canary, a pair whose answer is known." in text
    assert "It is no preference, and is not exported." in text


@pytest.mark.parametrize("share", [-0.1, 0.6])
def test_a_share_beyond_its_range_is_refused(share: float) -> None:
    with pytest.raises(Exception, match="canary_share"):
        make_pool("ab", stream={"canary_share": share})


def test_a_judge_budget_spares_no_canary(store: Store) -> None:
    flow = Trial(store, make_pool("abcd", judges=JUDGES, streams={"mine": {"judge_share": 0.5, "canary_share": 0.5}}))
    assert flow.pool.stream("mine@canaries").has_judge_budget is False
    flow.accept({"prompt": "x", "id": "p1"}, stream="mine")
    flow.dispatcher.admit()
    assert all(isinstance(message, GenerateBatch) for message in flow.messages())
