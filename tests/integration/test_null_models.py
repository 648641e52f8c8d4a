"""A null model, whose every answer is the same text, wins nothing against right answers and is rated below them."""

from __future__ import annotations

from pathlib import Path

import pytest

from karma.checkers.answer import answer
from karma.config.pool import Pool
from karma.messages import GenerateBatch, JudgeBatch, LearnBatch, ScoreBatch
from karma.ranking.snapshot import OVERALL, Snapshot
from karma.store.counting import resolutions_by_outcome
from karma.store.export_filter import ExportFilter
from karma_gateway.exports import rows
from karma_judging.handlers import judge
from karma_judging.worker import ask
from karma_scoring.fit.refit import Refitter
from tests.support.attacks import made
from tests.support.attacks.questions import questions
from tests.support.memory import ENDPOINT, Flow, make_pool
from tests.support.stores import memory

QUESTIONS = {question.prompt: question for question in questions(60)}
MODELS = ("right", "wrong", "null")


class Trial(Flow):
    """Models that are right, wrong, or say the same to everything; judged by the pool's own judge."""

    constant = ""

    def answer(self, batch: GenerateBatch, text: str | None = None, failure: str | None = None) -> ScoreBatch:
        given = super().answer(batch, text, failure)
        items = []
        for one, asked in zip(given.items, batch.items, strict=True):
            question = QUESTIONS[asked.messages[-1].content]
            said = {"right": question.right, "wrong": question.wrong, "null": self.constant}[batch.model]
            fields = {name: getattr(one, name) for name in one.__struct_fields__}
            items.append(type(one)(**{**fields, "text": said}))
        return ScoreBatch(header=given.header, items=tuple(items))

    def judge(self, batch: JudgeBatch, probability: float | None = None, failure: str | None = None) -> LearnBatch:
        (given,) = judge(batch, self.pool.judges[batch.judge], ask)
        return given


def run(constant: str) -> tuple[Trial, Snapshot]:
    tables = {
        "models": {name: {**ENDPOINT, "model": name} for name in MODELS},
        "judges": {"v": {"kind": "verifier"}},
        "stream": {"goal": "label", "policy": "all-pairs", "responses_per_prompt": 0, "pairs_per_prompt": 0},
    }
    pool = Pool.from_tables(tables, Path("pool.toml"))
    flow = Trial(memory(), pool)
    flow.constant = constant
    flow.accept(*({"prompt": one.prompt, "reference": one.reference} for one in QUESTIONS.values()))
    flow.finish()
    return flow, Refitter(flow.store, pool).refit(1)


@pytest.mark.parametrize("constant", [":", made.NULL[0], made.ONE_TOKEN[1], "Verdict: A"])
def test_a_constant_answer_is_never_chosen_and_rated_far_below_right_ones(constant: str) -> None:
    assert all(answer(constant, one.reference) is not True for one in QUESTIONS.values())
    flow, snapshot = run(constant)

    labels = [(row["karma"]["chosen_model"], row["karma"]["rejected_model"]) for row in
              rows(flow.store, "jsonl", ExportFilter.usual())]  # fmt: skip

    assert {chosen for chosen, _rejected in labels} == {"right"}
    assert sum(rejected == "null" for _chosen, rejected in labels) == len(QUESTIONS)
    rated = dict(zip(MODELS, snapshot.vector("mean", MODELS, OVERALL), strict=True))
    assert rated["right"] > rated["wrong"] + 1.0
    assert rated["right"] > rated["null"] + 1.0


def test_a_judge_that_is_taken_in_by_a_position_decides_nothing() -> None:
    """Whatever the responses are: the orders contradict each other, and no preference comes of it."""
    flow = Flow(memory(), make_pool("ab"))
    flow.accept(*({"prompt": f"p {n}"} for n in range(20)))
    while flow.dispatcher.admit() or flow.sent:
        for batch in flow.messages():
            if isinstance(batch, JudgeBatch):
                flow.handle(flow.judge(batch, 0.9))
            else:
                flow.handle(flow.answer(batch) if isinstance(batch, GenerateBatch) else batch)

    with flow.store.reading() as transaction:
        assert resolutions_by_outcome(transaction.ledger.connection) == {("inconsistent", None): 20}
