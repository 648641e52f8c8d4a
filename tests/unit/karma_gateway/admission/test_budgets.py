"""Admission within a budget: small steps while costs are unknown, then as many prompts as it still pays for."""

from __future__ import annotations

from typing import Any

import pytest

from karma.config.pool import Pool
from karma.messages import GenerateBatch, JudgeBatch, LearnBatch, ScoreBatch
from karma.store import Store
from karma.store.spending import Budget
from karma_cli import stream_end
from karma_gateway.admission.budgets import BudgetRoom, budget_of, has_budgets
from karma_monitor.figures.money.budgets import budgets_usd, described, waiting
from tests.support.memory import ENDPOINT, Flow
from tests.support.stores import memory

PRICE = {"input": 0.0, "output": 1.0}  # USD a million tokens


def pool(**tables: Any) -> Pool:
    from pathlib import Path

    model = {**ENDPOINT, "model": "m", "price": PRICE}
    return Pool.from_tables(
        {
            "models": {"a": model, "b": model},
            "judges": {"j": {"kind": "openai", "both_orders": False, "model": model}},
            **tables,
            "stream": {"goal": "label", **tables.get("stream", {})},
        },
        Path("pool.toml"),
    )


class Paid(Flow):
    """Every call writes so many tokens."""

    tokens = 100_000  # a tenth of a dollar

    def answer(self, batch: GenerateBatch, text: str | None = None, failure: str | None = None) -> ScoreBatch:
        from msgspec.structs import replace

        found = super().answer(batch, text, failure)
        items = tuple(replace(one, tokens_in=1, tokens_out=self.tokens, latency_s=1.0) for one in found.items)
        return replace(found, items=items)

    def judge(self, batch: JudgeBatch, probability: float | None = None, failure: str | None = None) -> LearnBatch:
        from msgspec.structs import replace

        found = super().judge(batch, probability, failure)
        items = tuple(replace(one, tokens_in=1, tokens_out=self.tokens, latency_s=1.0) for one in found.items)
        return replace(found, items=items)

    def room(self, stream: str, wanted: int = 1000) -> int:
        with self.store.transaction() as transaction:
            return BudgetRoom(transaction, self.pool).of(stream, wanted)

    def spent(self) -> float:
        with self.store.reading() as transaction:
            return transaction.spending.spent(self.pool.prices)


def flow(prompts: int, **stream: Any) -> Paid:
    found = Paid(memory(), pool(stream=stream))
    found.accept(*({"id": f"p{n}", "prompt": f"Say {n}."} for n in range(prompts)))
    return found


def states(store: Store) -> dict[str, int]:
    with store.reading() as transaction:
        return transaction.ledger.count_states()


def test_without_a_budget_nothing_is_held_back() -> None:
    found = flow(50)
    assert not has_budgets(found.pool)
    assert found.room("default") == 1000
    found.finish()
    assert states(found.store)["done"] == 50


def test_a_stream_starts_in_small_steps_and_ends_at_its_budget() -> None:
    found = flow(50, budget_usd=3.0)  # a prompt costs 0.30: two answers and a verdict
    assert found.room("default") == 8
    found.finish()
    assert found.spent() == pytest.approx(3.0)
    assert states(found.store) == {**dict.fromkeys(states(found.store), 0), "accepted": 40, "done": 10}
    assert found.room("default") == 0


def test_what_does_not_divide_the_budget_ends_above_it_by_less_than_one_prompt() -> None:
    found = flow(50, budget_usd=3.1)
    found.finish()
    assert found.spent() == pytest.approx(3.3)


def test_a_raised_budget_goes_on() -> None:
    found = flow(50, budget_usd=3.0)
    found.finish()
    again = Paid(found.store, pool(stream={"budget_usd": 6.0}))
    again.finish()
    assert found.spent() == pytest.approx(6.0)


def test_open_work_is_reserved() -> None:
    found = flow(100, budget_usd=30.0)
    for _round in range(3):
        found.dispatcher.admit()
        for batch in found.messages():
            found.handle(found.answer(batch) if isinstance(batch, GenerateBatch) else batch)
        for batch in found.messages():
            found.handle(batch)
        for batch in found.messages():
            found.handle(found.judge(batch) if isinstance(batch, JudgeBatch) else batch)
    room = found.room("default")
    assert 0 < room <= (30.0 - found.spent()) / 0.3 + 1
    found.dispatcher.admit()
    assert found.room("default") < room


@pytest.mark.parametrize("tables", [{"pipeline": {"budget_usd_per_day": 3.0}}, {"stream": {"budget_usd_per_day": 3.0}}])
def test_a_days_budget_is_that_of_one_day(tables: dict[str, Any]) -> None:
    store = memory()
    found = Paid(store, pool(**tables))
    found.accept(*({"id": f"p{n}", "prompt": f"Say {n}."} for n in range(50)))
    found.finish()
    assert found.spent() == pytest.approx(3.0)
    now = store.clock()
    store.clock = lambda: now + 86_400.0
    found.finish()
    assert found.spent() == pytest.approx(6.0)


def test_all_streams_share_a_budget_of_the_day() -> None:
    found = Paid(memory(), pool(pipeline={"budget_usd_per_day": 3.0}))
    for stream in ("s", "t"):
        found.accept(*({"id": f"p{n}", "prompt": f"Say {n}."} for n in range(20)), stream=stream)
    found.finish()
    assert 3.0 <= found.spent() + 1e-9 < 3.3


def test_status_says_what_is_spent_and_who_waits() -> None:
    found = flow(50, budget_usd=3.0)
    found.finish()
    with found.store.transaction() as transaction:
        transaction.spending.set_budgets({"default": budget_of(found.pool, "default")})
    with found.store.reading() as transaction:
        assert transaction.spending.budgets() == {"default": Budget(3.0)}
        assert transaction.spending.exhausted(found.pool.prices) == {"default"}
        assert transaction.spending.exhausted(found.pool.prices, ["other"]) == set()
        shown = budgets_usd(transaction, found.pool)
    assert shown["default"]["waits"] is True
    assert list(described(shown)) == [
        "budget of default: 3.00 of 3.00 USD spent; it waits for a higher budget",
    ]
    assert "default waits for budget: 3.00 of 3.00 USD spent. Raise it" in next(waiting(shown))


def test_a_spent_day_goes_on_by_itself() -> None:
    one = {"budget_usd": 3.0, "budget_usd_per_day": 0.002, "spent_usd": 1.0, "spent_today_usd": 0.0021, "waits": True}
    amounts = "1.00 of 3.00 USD spent, 0.0021 of 0.0020 USD spent today (UTC)"
    waits = "it waits for a higher budget, or for the next day (UTC)"
    assert list(described({"default": one})) == [f"budget of default: {amounts}; {waits}"]
    raised = "It goes on at 0:00 UTC; or raise it in the pool file, restart the gateway."
    assert list(waiting({"default": one})) == [f"default waits for budget: {amounts}. {raised}"]
    assert "0:00" not in next(waiting({"default": one | {"spent_usd": 3.0}}))


def test_who_waits_again_is_told_again(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(stream_end, "_LOOK_S", 0.0)
    found = flow(50, budget_usd=3.0)
    found.finish()
    look = stream_end.budget_notice(found.store, found.pool)
    for usd in (3.0, 3.0, 30.0, 3.0):
        with found.store.transaction() as transaction:
            transaction.spending.set_budgets({"default": Budget(usd)})
        look()
    assert capsys.readouterr().err.count("default waits for budget") == 2
