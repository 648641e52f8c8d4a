"""What was lost is sent again: a real Redis, both databases, workers that vanish at the worst moments."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from karma.config.pool import Pool
from karma.errors import BrokerOutageError
from karma.messages import GenerateBatch, ScoreBatch
from karma.messages.wire import decode, encode
from karma.queue.backlog import head_published_at, priority_list
from karma.queue.celery_app import Publisher
from karma.queue.claims import Claims, claim_name, revoke
from karma.queue.outbox import Outbox
from karma.queue.redis import (
    CLAIMS_KEY,
    FULL_KEY,
    INCARNATION_KEY,
    KEPT_KEY,
    TOMBSTONES_KEY,
    WAKE_KEY,
    Incarnation,
    RedisClock,
    current_incarnation,
    mark_full,
    server_time,
)
from karma.store import Store
from karma.store.records import BatchLimits, BatchRow
from karma.store.requeue import requeue_dead
from karma.store.work import WorkList
from karma_gateway import sweeper
from karma_gateway.sweeper import Sweeper
from tests.support.memory import Flow, make_pool
from tests.support.pipeline import wait_until


class Clock:
    """Redis' clock, and what a test adds to it."""

    def __init__(self, redis: Any) -> None:
        self._clock = RedisClock(redis)
        self.ahead = 0.0

    def __call__(self) -> float:
        return self._clock() + self.ahead


class Setup:
    """A pipeline whose workers are the test itself; messages go through a real Redis."""

    def __init__(self, store: Store, redis: Any) -> None:
        self.clock = Clock(redis)
        store.clock = self.clock
        self.redis = redis
        self.pool: Pool = make_pool("ab")
        self.publisher = publisher = Publisher(redis)
        outbox = Outbox("test", store, self.pool, publisher, partial(current_incarnation, redis), self.clock)
        self.flow = Flow(store, self.pool)
        self.flow.dispatcher._outbox = outbox
        self.sweeper = Sweeper(store, self.pool, outbox, publisher, redis, self.clock)
        self.claims = Claims(redis, self.pool.pipeline.claim_silence_s)
        self.store = store

    def pop(self, queue: str) -> Any | None:
        """Take the next message from a queue, as a worker does: it is then gone from Redis."""
        import base64
        import json

        raw = self.redis.rpop(priority_list(queue, 0))
        return None if raw is None else decode(json.loads(base64.b64decode(json.loads(raw)["body"]))[0][0])

    def sweep_later(self, seconds: float) -> int:
        """Two passes: what has vanished is looked for twice."""
        self.clock.ahead += seconds
        return self.sweeper.sweep() + self.sweeper.sweep()


@pytest.fixture
def setup(store: Store, redis: Any) -> Setup:
    made = Setup(store, redis)
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


def test_a_batch_that_is_taken_and_done_while_the_sweeper_looks_is_not_asked_for_again(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old enough to be lost: it waited long. It has neither a claim nor an end when the sweeper looks for them."""

    def done_first(redis: Any, name: str) -> float | None:
        batch = setup.pop("generate.a")
        if batch is not None:
            claim = claim_name("generate", batch.header.batch, 0)
            assert setup.claims.acquire(claim, batch.header.epoch) == "claimed"
            setup.publisher.publish([setup.flow.answer(batch)])
            setup.claims.complete(claim)
        return head_published_at(redis, name)

    monkeypatch.setattr(sweeper, "head_published_at", done_first)
    assert setup.sweep_later(60) == 0
    assert setup.redis.llen(priority_list("score", 0)) == 1
    assert setup.pop("generate.a") is None


def test_a_batch_that_is_taken_when_a_sweeper_looks_and_claimed_thereafter_is_not_lost(setup: Setup) -> None:
    setup.clock.ahead += 60
    taken = setup.pop("generate.a")
    assert isinstance(taken, GenerateBatch)
    assert setup.sweeper.sweep() == 0
    assert setup.claims.acquire(claim_name("generate", taken.header.batch, 0), taken.header.epoch) == "claimed"
    assert setup.sweeper.sweep() == setup.sweeper.sweep() == 0
    assert setup.pop("generate.a") is None


def test_a_result_that_waits_for_hours_to_be_recorded_is_not_asked_for_again(setup: Setup) -> None:
    """Its tombstone outlives it, or the batch would be taken for one that vanished, and be paid for twice."""
    batch = setup.pop("generate.a")
    assert isinstance(batch, GenerateBatch)
    name = claim_name("generate", batch.header.batch, 0)
    assert setup.claims.acquire(name, batch.header.epoch) == "claimed"
    answered = setup.flow.answer(batch)
    hours_ago = setup.clock() - 7200
    setup.publisher.publish([replace(answered, header=replace(answered.header, published_at=hours_ago))])
    setup.claims.complete(name)
    setup.redis.zadd(TOMBSTONES_KEY, {name: hours_ago + 1}, xx=True)
    setup.redis.zadd(TOMBSTONES_KEY, {"generate:another:0": hours_ago - 1})
    setup.sweep_later(60)
    setup.sweep_later(60)
    assert setup.pop("generate.a") is None
    assert setup.redis.zrange(TOMBSTONES_KEY, 0, -1) == [name.encode()]


def test_heartbeats_that_redis_refused_are_not_taken_for_silence(setup: Setup) -> None:
    """Redis answers reads and refuses writes, as with a full disk; then it takes a sweep before the first heartbeat."""
    batch = setup.pop("generate.a")
    assert isinstance(batch, GenerateBatch)
    name = claim_name("generate", batch.header.batch, 0)
    assert setup.claims.acquire(name, batch.header.epoch) == "claimed"
    setup.redis.config_set("min-replicas-to-write", 1)
    try:
        with pytest.raises(BrokerOutageError, match="refuses for now"):
            setup.claims.renew()
        with pytest.raises(BrokerOutageError, match="refuses for now"):
            setup.sweep_later(0)
    finally:
        setup.redis.config_set("min-replicas-to-write", 0)
    silent = {name: server_time(setup.redis) - 2 * setup.pool.pipeline.claim_silence_s}
    setup.redis.zadd(CLAIMS_KEY, silent)
    assert setup.sweep_later(0) == 0
    setup.claims.renew()
    assert setup.sweep_later(60) == 0
    assert setup.pop("generate.a") is None
    setup.redis.zadd(CLAIMS_KEY, silent)
    assert setup.sweep_later(0) == 1, "a worker that stays silent loses its claim"


def test_an_emptied_redis_gets_everything_again(setup: Setup) -> None:
    before = current_incarnation(setup.redis)
    setup.redis.flushall()
    setup.sweep_later(10)  # sees the new life of Redis
    assert current_incarnation(setup.redis) != before
    setup.sweep_later(10)
    assert isinstance(setup.pop("generate.a"), GenerateBatch)
    assert isinstance(setup.pop("generate.b"), GenerateBatch)
    assert setup.redis.exists(INCARNATION_KEY)


def test_a_batch_that_cannot_be_sent_again_does_not_hold_up_those_swept_with_it(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup.pop("generate.a")
    setup.pop("generate.b")
    reopen = WorkList.reopen

    def reopen_all_but_a(work: WorkList, rows: Sequence[BatchRow], limits: BatchLimits, **more: Any) -> int:
        if any(row.target == "a" for row in rows):
            raise ValueError("something is wrong with this batch")
        return reopen(work, rows, limits, **more)

    monkeypatch.setattr(WorkList, "reopen", reopen_all_but_a)
    setup.sweep_later(60)
    assert setup.pop("generate.a") is None
    assert isinstance(setup.pop("generate.b"), GenerateBatch)
    monkeypatch.undo()
    setup.sweep_later(60)
    assert isinstance(setup.pop("generate.a"), GenerateBatch)


def test_a_batch_that_fails_every_time_ends_as_a_failure_with_its_last_error(setup: Setup) -> None:
    for attempt in range(setup.pool.pipeline.max_attempts):
        batch = setup.pop("generate.a")
        assert isinstance(batch, GenerateBatch), f"attempt {attempt}"
        name = f"generate:{batch.header.batch}:0"
        assert setup.claims.acquire(name) == "claimed"
        setup.claims.release(name, "boom")
        assert setup.sweep_later(0.1) >= 1
        last = attempt == setup.pool.pipeline.max_attempts - 1
        assert setup.redis.llen(priority_list("generate.a", 0)) == 0, "the next attempt waits for its moment"
        assert setup.sweep_later(20) >= (0 if last else 1)
    assert setup.pop("generate.a") is None
    message = setup.pop("score")
    assert message is not None
    assert message.items[0].failure == "given up after 3 attempts: boom"
    setup.flow.handle(message)
    with setup.store.reading() as transaction:
        (rows,) = transaction.preferences.responses_of([message.items[0].prompt]).values()
    assert rows[0].failure is not None


@pytest.mark.parametrize("forgets", ["the message", "the result and every record of it", "everything"])
def test_somebody_who_deletes_has_a_call_repeated_a_bounded_number_of_times(setup: Setup, forgets: str) -> None:
    """Whoever has Redis' password can delete what a worker brings; the ledger counts how often it asked."""
    limits, asked = setup.pool.pipeline, 0
    for _pass in range(10 * limits.max_resends):
        batch = setup.pop("generate.a")
        if isinstance(batch, GenerateBatch):
            asked += 1
            if forgets != "the message":
                name = claim_name("generate", batch.header.batch, 0)
                assert setup.claims.acquire(name) == "claimed"
                setup.publisher.publish([setup.flow.answer(batch)])
                setup.claims.complete(name)
                setup.redis.delete(priority_list("score", 0), TOMBSTONES_KEY, KEPT_KEY, CLAIMS_KEY)
            if forgets == "everything":
                setup.redis.flushall()
        setup.sweep_later(20)
        message = setup.pop("score")
        if isinstance(message, ScoreBatch) and message.items[0].model == "a":
            break
    assert asked == limits.max_resends + limits.max_attempts
    assert (message.items[0].failure or "").endswith("times and no result came back")


def test_a_late_result_of_a_batch_that_was_given_up_still_counts_once(setup: Setup) -> None:
    first = setup.pop("generate.a")
    assert isinstance(first, GenerateBatch)
    name = f"generate:{first.header.batch}:0"
    setup.claims.acquire(name)
    setup.claims.release(name, "frozen")
    setup.sweep_later(10)
    setup.sweep_later(10)
    second = setup.pop("generate.a")
    assert isinstance(second, GenerateBatch)
    setup.flow.handle(setup.flow.answer(first, text="late but first"))
    setup.flow.handle(setup.flow.answer(second, text="second"))
    with setup.store.reading() as transaction:
        (rows,) = transaction.preferences.responses_of([first.items[0].prompt]).values()
    assert [row.text for row in rows] == ["late but first"]


def test_results_in_the_hand_of_a_worker_that_died_are_delivered_again_and_not_asked_for(setup: Setup) -> None:
    asked = setup.pop("generate.a")
    assert isinstance(asked, GenerateBatch)
    answer = setup.flow.answer(asked)
    setup.claims.acquire(f"generate:{asked.header.batch}:0")
    setup.claims.complete(f"generate:{asked.header.batch}:0")
    name = f"score:{asked.header.batch}:0"
    assert setup.claims.acquire(name, kept=encode(answer)) == "claimed"
    setup.claims.release(name, "the worker's heartbeat expired")
    assert setup.sweep_later(0.1) == 1
    again = setup.pop("score")
    assert isinstance(again, ScoreBatch)
    assert again.items == answer.items
    assert setup.pop("generate.a") is None
    setup.flow.handle(again)
    assert setup.sweep_later(60) == 0
    assert not setup.redis.exists(KEPT_KEY)


def test_an_answer_that_kills_scoring_every_time_ends_its_prompt_as_dead_and_requeue_brings_it_back(
    setup: Setup,
) -> None:
    setup.pop("generate.b")
    asked = setup.pop("generate.a")
    assert isinstance(asked, GenerateBatch)
    message: Any = setup.flow.answer(asked)
    for attempt in range(setup.pool.pipeline.max_attempts):
        name = f"score:{message.header.batch}:{message.header.part}"
        assert setup.claims.acquire(name, kept=encode(message)) == "claimed"
        setup.claims.release(name, "score failed: boom")
        seconds = 0.0
        while setup.redis.exists(KEPT_KEY):  # the delay runs on Redis' clock
            setup.sweep_later(0)
            time.sleep(0.05)
            seconds += 0.05
            assert seconds < 30
        message = setup.pop("score")
        assert (message is None) == (attempt == setup.pool.pipeline.max_attempts - 1)
    with setup.store.reading() as transaction:
        assert transaction.ledger.count_states()["dead"] == 1
    setup.flow.handle(setup.flow.answer(asked))  # too late: a dead prompt is moved by nobody
    with setup.store.transaction() as transaction:
        assert transaction.ledger.count_states()["dead"] == 1
        assert len(requeue_dead(transaction.ledger.connection)) == 1
    setup.flow.dispatcher.admit()
    again = setup.pop("generate.a")
    assert isinstance(again, GenerateBatch)
    for batch in (again, setup.pop("generate.b")):
        setup.flow.handle(setup.flow.answer(batch))
    with setup.store.reading() as transaction:
        assert transaction.ledger.count_states()["answered"] == 1


def test_a_claim_is_taken_once_and_a_done_one_never_again(redis: Any) -> None:
    one, other = Claims(redis), Claims(redis)
    assert one.acquire("generate:b:0") == "claimed"
    assert other.acquire("generate:b:0") == "held"
    one.complete("generate:b:0")
    assert other.acquire("generate:b:0") == "done"


def test_a_message_of_another_life_of_redis_is_void(redis: Any) -> None:
    epoch = current_incarnation(redis)
    claims = Claims(redis)
    assert claims.acquire("generate:b:0", "another") == "void"
    assert claims.acquire("generate:b:0", epoch) == "claimed"


def test_a_worker_that_was_frozen_may_begin_nothing_until_it_knows_that_its_claim_is_still_its_own(redis: Any) -> None:
    claims = Claims(redis, silence_s=0.2)
    claims.acquire("generate:b:0")
    assert claims.state("generate:b:0") == "go"
    wait_until(lambda: claims.state("generate:b:0") == "wait", 5, "the lease runs out")
    claims.renew()
    assert claims.state("generate:b:0") == "go"
    assert revoke(redis, ["generate:b:0", "generate:c:0"], silence_s=10) == {"generate:c:0": False}
    assert revoke(redis, ["generate:b:0", "generate:c:0"], silence_s=0) == {"generate:b:0": False, "generate:c:0": True}
    claims.renew()
    assert claims.state("generate:b:0") == "stop"
    assert Claims(redis).acquire("generate:b:0") == "done"


def test_a_claim_that_was_lost_with_redis_is_claimed_again(redis: Any) -> None:
    claims = Claims(redis)
    claims.acquire("generate:b:0")
    redis.flushall()
    claims.renew()
    assert claims.state("generate:b:0") == "go"
    assert Claims(redis).acquire("generate:b:0") == "held"


def test_the_end_of_a_claim_wakes_a_gateway_whose_prompts_wait_for_room(redis: Any) -> None:
    claims = Claims(redis)
    for made_room, is_full, woken in ((False, True, 0), (True, False, 0), (True, True, 1), (True, True, 1)):
        assert claims.acquire("match:b:0") == "claimed"
        redis.delete(FULL_KEY)
        if is_full:
            mark_full(redis)
        claims.complete("match:b:0", made_room)
        assert redis.llen(WAKE_KEY) == woken
        assert claims.acquire("match:b:0") == "done"
        redis.delete(TOMBSTONES_KEY)


def test_a_worker_goes_by_an_incarnation_that_is_a_second_old_at_most(
    redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    incarnation = Incarnation(redis)
    before = incarnation()
    redis.flushall()
    assert incarnation() == before
    later = time.monotonic() + 1.0
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert incarnation() == current_incarnation(redis) != before
