"""What a file would cost: measured where there is something, else by prices, and what is assumed is said."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from karma.config.pool import Pool
from karma.messages import GenerateBatch, JudgeBatch, LearnBatch, ScoreBatch
from karma_monitor.figures.money.estimate import Estimate, estimate
from karma_monitor.figures.money.line_fit import Fit
from tests.support.memory import ENDPOINT, Flow
from tests.support.stores import memory


def pool(price: Any = None, **stream: Any) -> Pool:
    model = {**ENDPOINT, "model": "m", "max_tokens": 100, "price": price or {"input": 1.0, "output": 2.0}}
    return Pool.from_tables(
        {
            "models": {"a": model, "b": model},
            "judges": {"j": {"kind": "openai", "model": model}},
            "stream": {"goal": "label", **stream},
        },
        Path("pool.toml"),
    )


class Billed(Flow):
    """Calls read a token for four characters of the prompt, and write about 50."""

    draw = random.Random(3)

    def _with(self, batch: Any, lengths: dict[int, int], read: int) -> Any:
        items = tuple(
            replace(
                one,
                tokens_in=read + lengths[one.prompt] // 4,
                tokens_out=self.draw.randint(20, 80),
                latency_s=1.0,
            )
            for one in batch.items
        )
        return replace(batch, items=items)

    def lengths(self) -> dict[int, int]:
        with self.store.reading() as transaction:
            rows = transaction.ledger.connection.exec_driver_sql("SELECT id, length(messages) FROM prompts")
            return {row[0]: row[1] for row in rows}

    def answer(self, batch: GenerateBatch, text: str | None = None, failure: str | None = None) -> ScoreBatch:
        found: ScoreBatch = self._with(super().answer(batch, text, failure), self.lengths(), 10)
        return found

    def judge(self, batch: JudgeBatch, probability: float | None = None, failure: str | None = None) -> LearnBatch:
        found: LearnBatch = self._with(super().judge(batch, probability, failure), self.lengths(), 200)
        return found


def lines(first: int, number: int) -> list[dict[str, str]]:
    draw = random.Random(first)
    return [{"id": f"p{n}", "prompt": "x" * draw.choice([100, 400, 2000])} for n in range(first, first + number)]


def estimated(flow: Flow, prompts: list[dict[str, str]], stream: str = "default", given: int = 0) -> Estimate:
    lengths = [len(f'[{{"role": "user", "content": "{one["prompt"]}"}}]') for one in prompts]
    with flow.store.reading() as transaction:
        return estimate(transaction, flow.pool, stream, lengths, given)


def spent(flow: Flow) -> float:
    with flow.store.reading() as transaction:
        return transaction.spending.spent(flow.pool.prices)


def test_a_line_through_points_tells_a_sum_and_how_unsure_it_is() -> None:
    exact = Fit.of([(1.0, 3.0), (2.0, 5.0), (4.0, 9.0)])
    total, variance = exact.total([10.0, 20.0])
    assert (total, variance) == (pytest.approx(62.0), pytest.approx(0.0, abs=1e-9))
    level = Fit.of([(1.0, 1.0), (1.0, 3.0)])
    assert level.total([7.0])[0] == pytest.approx(2.0)
    assert level.total([7.0])[1] > 0


def test_what_the_stream_measured_is_within_the_interval_of_what_comes() -> None:
    flow = Billed(memory(), pool())
    flow.accept(*lines(0, 300))
    flow.finish()
    before = spent(flow)
    coming = lines(1000, 300)
    said = estimated(flow, coming)
    flow.accept(*coming)
    flow.finish()
    cost = spent(flow) - before
    assert said.cost_usd == pytest.approx(cost, rel=0.15)
    assert said.low is not None and said.high is not None and said.low < cost < said.high
    assert {part.source for part in said.parts} == {"stream"}
    assert sum(part.calls for part in said.parts if part.kind == "judge") == pytest.approx(600)


def test_calls_of_another_stream_are_taken_with_this_streams_settings() -> None:
    flow = Billed(memory(), pool())
    flow.accept(*lines(0, 100), stream="other")
    flow.finish()
    said = estimated(flow, lines(1000, 100))
    assert {part.source for part in said.parts} == {"store"}
    assert said.cost_usd == pytest.approx(spent(flow), rel=0.25)


def test_without_a_call_the_price_and_the_most_tokens_are_taken_and_named() -> None:
    flow = Flow(memory(), pool())
    said = estimated(flow, [{"prompt": "x" * 365}] * 10)  # 400 characters as JSON, so 100 tokens
    by_name = {part.name: part for part in said.parts}
    assert by_name["a"].source == "prices"
    assert by_name["a"].cost_usd == pytest.approx(10 * (100 + 2 * 100) / 1e6, rel=0.1)
    assert "max_tokens = 100" in by_name["a"].assumes
    assert said.cost_usd is not None and said.low is not None and said.low < 0.1 * said.cost_usd
    assert said.high == pytest.approx(said.cost_usd, rel=0.03)


def test_given_responses_are_only_judged() -> None:
    said = estimated(Flow(memory(), pool()), [{"prompt": "x"}] * 10, given=10)
    assert {part.name: part.calls for part in said.parts} == {"a": 0, "b": 0, "j": 20}


def test_an_unknown_price_is_said_and_is_not_nothing() -> None:
    unpriced = Pool.from_tables(
        {
            "models": {name: {**ENDPOINT, "model": name} for name in "ab"},
            "judges": {"j": {"kind": "openai", "model": {**ENDPOINT, "model": "j"}}},
        },
        Path("pool.toml"),
    )
    said = estimated(Flow(memory(), unpriced), [{"prompt": "x"}])
    assert (said.cost_usd, said.low) == (None, None)
    assert "unknown amount: no price of model a" in said.sentence()
    assert said.data()["parts"][0]["cost_usd"] is None
