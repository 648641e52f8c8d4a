"""What was lost is sent again: a real Redis, both databases, workers that vanish at the worst moments."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from karma.broker import EPOCH_KEY, Publisher, create_app, current_epoch, priority_list
from karma.claims import Claims
from karma.conveyor import Conveyor
from karma.messages import GenerateBatch, decode
from karma.pool import Pool
from karma.store import Store
from karma_gateway.sweeper import Sweeper
from tests.support.memory import Flow, make_pool


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Setup:
    """A pipeline whose workers are the test itself; messages go through a real Redis."""

    def __init__(self, store: Store, redis: Any, url: str) -> None:
        self.clock = Clock()
        store.clock = self.clock
        self.redis = redis
        pool = make_pool("ab")
        # Claims run on Redis' own clock: silence is at once where a test gives a claim up.
        self.pool: Pool = replace(pool)
        publisher = Publisher(create_app(url))
        conveyor = Conveyor(store, self.pool, publisher, redis, self.clock)
        self.flow = Flow(store, self.pool)
        self.flow.dispatcher._conveyor = conveyor
        self.sweeper = Sweeper(store, self.pool, conveyor, publisher, redis, self.clock)
        self.claims = Claims(redis, self.pool.pipeline.claim_silence_s)
        self.store = store

    def pop(self, queue: str) -> Any | None:
        """Take the next message from a queue, as a worker does: it is then gone from Redis."""
        import base64
        import json

        raw = self.redis.rpop(priority_list(queue, 0))
        return None if raw is None else decode(json.loads(base64.b64decode(json.loads(raw)["body"]))[0][0])

    def sweep_later(self, seconds: float) -> int:
        self.clock.now += seconds
        return self.sweeper.sweep()


@pytest.fixture
def setup(store: Store, redis: Any, redis_url: str) -> Setup:
    made = Setup(store, redis, redis_url)
    made.sweeper.sweep()
    made.flow.accept({"prompt": "p"})
    made.flow.dispatcher.admit()
    return made


def test_a_batch_that_merely_waits_is_not_sent_again(setup: Setup) -> None:
    assert setup.sweep_later(3600) == 0
    assert setup.redis.llen(priority_list("generate.a", 0)) == 1


def test_a_message_that_was_taken_and_never_claimed_is_sent_again(setup: Setup) -> None:
    lost = setup.pop("generate.a")
    assert isinstance(lost, GenerateBatch)
    assert setup.sweep_later(60) >= 1
    again = setup.pop("generate.a")
    assert isinstance(again, GenerateBatch)
    assert again.items == lost.items
    assert again.header.batch != lost.header.batch


def test_an_emptied_redis_gets_everything_again(setup: Setup) -> None:
    before = current_epoch(setup.redis)
    setup.redis.flushall()
    setup.sweep_later(10)  # sees the new life of Redis
    assert current_epoch(setup.redis) != before
    setup.sweep_later(10)
    assert isinstance(setup.pop("generate.a"), GenerateBatch)
    assert isinstance(setup.pop("generate.b"), GenerateBatch)
    assert setup.redis.exists(EPOCH_KEY)


def test_a_batch_that_kills_its_worker_every_time_ends_as_a_failure(setup: Setup) -> None:
    for attempt in range(setup.pool.pipeline.max_attempts):
        batch = setup.pop("generate.a")
        assert isinstance(batch, GenerateBatch), f"attempt {attempt}"
        name = f"generate:{batch.header.batch}:0"
        assert setup.claims.take(name)
        setup.claims.abandon(name)
        assert setup.sweep_later(10) >= 1
    assert setup.pop("generate.a") is None
    message = setup.pop("score")
    assert message is not None
    assert message.items[0].failure == "given up after 3 attempts: the worker fell silent"
    setup.flow.handle(message)
    with setup.store.reading() as transaction:
        (rows,) = transaction.preferences.responses_of([message.items[0].prompt]).values()
    assert rows[0].failure is not None


def test_a_late_result_of_a_batch_that_was_given_up_still_counts_once(setup: Setup) -> None:
    first = setup.pop("generate.a")
    assert isinstance(first, GenerateBatch)
    name = f"generate:{first.header.batch}:0"
    setup.claims.take(name)
    setup.claims.abandon(name)
    setup.sweep_later(10)
    second = setup.pop("generate.a")
    assert isinstance(second, GenerateBatch)
    setup.flow.handle(setup.flow.answer(first, text="late but first"))
    setup.flow.handle(setup.flow.answer(second, text="second"))
    with setup.store.reading() as transaction:
        (rows,) = transaction.preferences.responses_of([first.items[0].prompt]).values()
    assert [row.text for row in rows] == ["late but first"]


def test_a_claim_is_taken_once_and_a_done_one_never_again(redis: Any) -> None:
    one, other = Claims(redis), Claims(redis)
    assert one.take("generate:b:0")
    assert not other.take("generate:b:0")
    one.release("generate:b:0")
    assert not other.take("generate:b:0")
