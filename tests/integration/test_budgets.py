"""Budgets with a real Redis and both databases: exact sums, calls that do not begin, and work that is kept."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import text

from karma import lease
from karma.config.pool import Pool
from karma.errors import ReleasedError
from karma.messages import Batch, GenerateBatch, GenerateItem, Header, JudgeBatch, LearnBatch, ScoreBatch, Turn
from karma.messages.signing import UNSIGNED
from karma.messages.wire import encode
from karma.queue.celery_app import Publisher
from karma.queue.claims import RELEASED, Claims
from karma.queue.claims_view import ClaimsView
from karma.queue.outbox import Outbox
from karma.queue.redis import SPENT_KEY, Incarnation, RedisClock, current_incarnation
from karma.queue.spent import EVERYTHING, SpentStreams, mark_spent, replace_spent, spent_streams
from karma.store import Store, schema
from karma.store.spending import Budget
from karma.worker.connections import Connections
from karma.worker.retry import Shutdown
from karma.worker.served import Served
from karma.worker.stage import asking
from karma_gateway.admission.budgets import assert_spent
from karma_gateway.sweeper import Sweeper
from tests.support.earlier_schema import take_back
from tests.support.memory import ENDPOINT, Flow


def pool(budget: float | None = None, priced: bool = True, **tables: Any) -> Pool:
    price = {"price": {"input": 1.0, "output": 4.0}} if priced else {}
    model = {**ENDPOINT, "model": "m", **price}
    return Pool.from_tables(
        {
            "models": {"a": model, "b": {**ENDPOINT, "model": "m"}},  # b has no price
            "judges": {"j": {"kind": "openai", "model": model}},
            "stream": {"goal": "label", **({} if budget is None else {"budget_usd": budget})},
            **tables,
        },
        Path("pool.toml"),
    )


class Billed(Flow):
    """Calls with random tokens, of which some fail and some do not say their tokens; all is delivered often."""

    draw = random.Random(7)

    def billed(self, batch: Any) -> Any:
        items = []
        for one in batch.items:
            tokens = None if self.draw.random() < 0.2 else self.draw.randint(1, 10_000)
            failed = self.draw.random() < 0.2
            changed: dict[str, Any] = {"tokens_in": tokens, "tokens_out": tokens, "latency_s": 0.5}
            if failed:
                changed["failure"] = "cut"
                changed["text" if isinstance(batch, ScoreBatch) else "probability"] = None
            items.append(replace(one, **changed))
        return replace(batch, items=tuple(items))

    def answer(self, batch: GenerateBatch, text: str | None = None, failure: str | None = None) -> ScoreBatch:
        found: ScoreBatch = self.billed(super().answer(batch, text, failure))
        return found

    def judge(self, batch: JudgeBatch, probability: float | None = None, failure: str | None = None) -> LearnBatch:
        found: LearnBatch = self.billed(super().judge(batch, probability, failure))
        return found


ROWS = "SELECT COALESCE(sum(cost_usd), 0), count(cost_usd), count(latency_s) FROM {}"


def test_the_ledgers_sum_is_that_of_the_rows_whatever_is_delivered_again(store: Store) -> None:
    flow = Billed(store, pool())
    for stream in ("s", "t"):
        flow.accept(
            *({"id": f"p{n}", "prompt": f"Say {n}."} for n in range(20)),
            {"id": "given", "prompt": "Say it.", "responses": {"a": "yes", "x": "no"}},
            stream=stream,
        )
    flow.finish(deliveries=3)
    with store.engine.connect() as connection:
        of_rows = [connection.execute(text(ROWS.format(table))).one() for table in ("responses", "verdicts")]
    with store.reading() as transaction:
        sums = transaction.spending.by_name().values()
        spent = transaction.spending.spent(flow.pool.prices)
        by_stream = transaction.spending.spent_by_stream(flow.pool.prices)
    assert sum(one.cost_usd for one in sums) == pytest.approx(sum(row[0] for row in of_rows))
    assert sum(one.priced for one in sums) == sum(row[1] for row in of_rows)
    assert sum(one.calls for one in sums) == sum(row[2] for row in of_rows)
    assert spent == pytest.approx(sum(by_stream.values())) == pytest.approx(sum(row[0] for row in of_rows))
    assert set(by_stream) == {"s", "t"}


def test_calls_of_an_earlier_version_have_the_pool_files_price(store: Store) -> None:
    flow = Billed(store, pool(priced=False))
    flow.accept(*({"id": f"p{n}", "prompt": f"Say {n}."} for n in range(5)))
    flow.finish()
    take_back(store, "0010")
    with store.engine.begin() as connection:
        wanted = connection.exec_driver_sql(
            "SELECT sum(tokens_in + 4 * tokens_out) / 1e6 FROM (SELECT tokens_in, tokens_out FROM verdicts UNION ALL "
            "SELECT tokens_in, tokens_out FROM responses WHERE model = 'a') AS calls"
        ).scalar_one()
    store.migrate()
    with store.reading() as transaction:
        assert transaction.spending.spent(pool().prices) == pytest.approx(float(wanted))
        assert transaction.spending.spent({}) == 0
        assert transaction.spending.spent(pool().prices, "default", today=True) == pytest.approx(float(wanted))


def test_the_names_for_all_streams_are_the_same() -> None:
    assert EVERYTHING == schema.EVERYTHING


def test_the_set_in_redis_is_asserted_and_keeps_what_came_meanwhile(redis: Any) -> None:
    mark_spent(redis, {"old", "both"})
    before = spent_streams(redis)
    mark_spent(redis, {"meanwhile"})
    replace_spent(redis, before, {"both", "new"})
    assert spent_streams(redis) == {"both", "new", "meanwhile"}


def test_a_worker_sees_a_spent_stream_within_a_moment(redis: Any) -> None:
    spent = SpentStreams(redis)
    assert spent.lease("s") == "go"
    mark_spent(redis, {"s"})
    time.sleep(0.03)
    assert (spent.lease("s"), spent.lease("t")) == ("stop", "go")
    mark_spent(redis, {EVERYTHING})
    time.sleep(0.03)
    assert spent.lease("t") == "stop"


def parts(redis: Any) -> tuple[Publisher, RedisClock]:
    return Publisher(redis, UNSIGNED), RedisClock(redis)


def test_a_batch_of_a_spent_stream_is_released_without_an_attempt_and_calls_nothing(redis: Any) -> None:
    publisher, clock = parts(redis)
    connections = Connections(
        redis, publisher, Claims(redis), clock, Shutdown(1.0), Incarnation(redis), spent=SpentStreams(redis)
    )
    called: list[str] = []

    def handle(batch: Any, _spec: Any) -> Sequence[Batch]:
        lease.require()
        called.append(batch.header.batch)
        return []

    stage = asking("generate", handle, Served({"a": None}, {"a": ""}), connections)
    mark_spent(redis, {"spent"})
    for stream, batch in (("spent", "b1"), ("other", "b2")):
        header = Header(stream=stream, batch=batch, token="", epoch=current_incarnation(redis))
        item = GenerateItem(1, 1, 0, 1, (Turn("user", "Hi"),))
        stage.run(encode(GenerateBatch(header=header, model="a", specification="", items=(item,))))
    assert called == ["b2"]
    view = ClaimsView.read(redis, 10.0, UNSIGNED)
    assert view.reason("generate:b1:0", "a") == RELEASED
    with pytest.raises(ReleasedError), lease.held(lambda: connections.spent.lease("spent")):
        lease.require()


def published(store: Store) -> dict[str, bool]:
    """Batch with open work → whether it was published."""
    with store.reading() as transaction:
        return {row.id: row.published_at is not None for row in transaction.work.carried()}


def test_work_of_a_spent_stream_is_kept_until_the_budget_is_raised(store: Store, redis: Any) -> None:
    publisher, clock = parts(redis)
    store.clock = clock
    flow = Billed(store, pool(budget=1.0))
    flow.accept(*({"id": f"p{n}", "prompt": f"Say {n}."} for n in range(4)))
    assert flow.dispatcher.admit() == 4
    with store.transaction() as transaction:
        transaction.ledger.connection.exec_driver_sql(
            "INSERT INTO spending VALUES ('default', "
            f"{transaction.spending.today}, 'model', 'a', 1, 1, 1, 1, 1.5, 0, 0, 0)"
        )
    assert assert_spent(store, redis, flow.pool) == {"default"}
    assert spent_streams(redis) == {"default"}
    incarnation = partial(current_incarnation, redis)
    Outbox("dispatch", store, flow.pool, publisher, incarnation, clock).send(flow.sent)
    assert set(published(store).values()) == {False}
    now = clock() + 1000.0  # long overdue
    sweeper = Sweeper(
        store,
        flow.pool,
        Outbox("sweep", store, flow.pool, publisher, incarnation, clock),
        publisher,
        redis,
        lambda: now,
    )
    redis.flushall()
    assert sweeper.sweep() == 0
    assert spent_streams(redis) == {"default"}  # again, after Redis lost it
    assert set(published(store).values()) == {False}
    with store.reading() as transaction:
        open_items = [item for batch in published(store) for item in transaction.work.items_of(batch)]
    assert {(item.attempts, item.resends) for item in open_items} == {(0, 0)}
    raised = pool(budget=10.0)
    again = Sweeper(
        store, raised, Outbox("sweep", store, raised, publisher, incarnation, clock), publisher, redis, lambda: now
    )
    assert again.sweep() == len(open_items) // 4
    assert redis.exists(SPENT_KEY) == 0
    assert set(published(store).values()) == {True}
    with store.reading() as transaction:
        assert transaction.spending.budgets() == {"default": Budget(10.0)}
