"""The outbox: publishes the batches that a transaction opened, after its commit, and marks them as published.

Messages are composed from the store, so a batch that is sent again has the same content.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from karma.config.pool import Pool
from karma.errors import SettingsError
from karma.messages import (
    Answer,
    Batch,
    GenerateBatch,
    GenerateItem,
    Header,
    JudgeBatch,
    JudgeItem,
    LearnBatch,
    MatchBatch,
    MatchItem,
    ScoreBatch,
    Turn,
    Verdict,
)
from karma.queue.celery_app import Publisher
from karma.queue.fault_injection import reach
from karma.queue.redis import current_incarnation
from karma.seeds import seed_of
from karma.store import Store, Transaction
from karma.store.message_contents import pair_contents, prompt_contents
from karma.store.records import BatchRow
from karma.telemetry import tracing

_turns: msgspec.json.Decoder[tuple[Turn, ...]] = msgspec.json.Decoder(tuple[Turn, ...])

#: Batches that are composed and published together.
_BATCHES_AT_ONCE = 64


class Outbox:
    """Publishes opened batches; `name` names its owner in fault points and traces."""

    def __init__(
        self, name: str, store: Store, pool: Pool, publisher: Publisher, redis: Any, clock: Callable[[], float]
    ) -> None:
        self._name = name
        self._store = store
        self._pool = pool
        self._publisher = publisher
        self._redis = redis
        self._clock = clock

    def send(self, batch_ids: Sequence[str]) -> None:
        """Compose the batches' messages, publish them and mark them as published. The sweeper sends what fails.

        Raises:
            OutageError: Redis or the store is unavailable.
        """
        if not batch_ids:
            return
        with tracing.sending(self._name, len(batch_ids)) as trace:
            for start in range(0, len(batch_ids), _BATCHES_AT_ONCE):
                self._send(batch_ids[start : start + _BATCHES_AT_ONCE], trace)

    def _send(self, ids: Sequence[str], trace: Mapping[str, str]) -> None:
        incarnation = current_incarnation(self._redis)
        with self._store.reading() as transaction:
            now = self._clock()
            messages = compose(transaction, self._pool, ids, incarnation, now, trace)
        self._publisher.publish(messages)
        reach(f"{self._name}.after_publish")
        with self._store.transaction() as transaction:
            transaction.work.mark_published(ids, incarnation, now)
        reach(f"{self._name}.after_mark")


def compose(
    transaction: Transaction,
    pool: Pool,
    batch_ids: Sequence[str],
    incarnation: str,
    now: float,
    trace: Mapping[str, str] = MappingProxyType({}),
) -> list[Batch]:
    """The messages of batches, without items that were closed since and without batches that have none left."""
    rows = transaction.work.batches(batch_ids)
    judged = [row.id for row in rows if row.stage == "judge"]
    asked = [row.id for row in rows if row.stage != "judge"]
    contents = prompt_contents(transaction.ledger.connection, asked) if asked else {}
    contents |= pair_contents(transaction.ledger.connection, judged) if judged else {}
    return [_message(row, contents[row.id], pool, incarnation, now, trace) for row in rows if contents.get(row.id)]


def _message(
    row: BatchRow, items: list[Any], pool: Pool, incarnation: str, now: float, trace: Mapping[str, str]
) -> Batch:
    attempts, limit = items[0].attempts, pool.pipeline.max_attempts
    header = Header(
        stream=row.stream,
        batch=row.id,
        token=row.token,
        priority=row.priority,
        epoch=incarnation,
        published_at=now,
        alone=0 < attempts == limit - 1,
        trace=dict(trace),
    )
    if row.stage in ("generate", "judge") and attempts >= limit:
        return _failures(row, items, header)
    match row.stage:
        case "generate":
            spec = pool.models.get(row.target)
            if spec is None:
                reason = f"the model {row.target!r} is no longer in the pool"
                return ScoreBatch(header=header, items=tuple(_failed(item, reason) for item in items))
            return GenerateBatch(header=header, model=spec, items=tuple(_generate_item(item) for item in items))
        case "score":
            return ScoreBatch(header=header, items=tuple(_given_answer(item) for item in items))
        case "match":
            return MatchBatch(header=header, items=tuple(MatchItem(item.item, item.prompt) for item in items))
        case "judge":
            judge = pool.judges.get(row.target)
            if judge is None:
                raise SettingsError(
                    f"{pool.path}: open pairs wait for the judge {row.target!r}, which is no longer in the pool. "
                    "Add it again until they are judged."
                )
            return JudgeBatch(header=header, judge=judge, items=tuple(_judge_item(item) for item in items))


def _failures(row: BatchRow, items: list[Any], header: Header) -> Batch:
    """The results of items that have no attempt left: failures with the last error, sent like any result."""
    reason = f"given up after {items[0].attempts} attempts: {items[0].error}"
    if row.stage == "generate":
        return ScoreBatch(header=header, items=tuple(_failed(item, reason) for item in items))
    return LearnBatch(header=header, items=tuple(_unjudged(item, reason) for item in items))


def _generate_item(item: Any) -> GenerateItem:
    return GenerateItem(
        item=item.item,
        prompt=item.prompt,
        sample=item.sample,
        seed=seed_of(item.stream, item.prompt_id, item.target, item.sample),
        messages=_turns.decode(item.messages),
    )


def _failed(item: Any, reason: str) -> Answer:
    return Answer(item=item.item, prompt=item.prompt, model=item.target, sample=item.sample, failure=reason)


def _unjudged(item: Any, reason: str) -> Verdict:
    return Verdict(
        item=item.item, pair=item.pair, prompt=item.prompt, judge=item.target, order=item.shown, failure=reason
    )


def _given_answer(item: Any) -> Answer:
    """A response that came with its prompt: `given` is a list of [model, sample, text]."""
    for model, sample, text in json.loads(item.given or "[]"):
        if model == item.target and sample == item.sample:
            return Answer(item=item.item, prompt=item.prompt, model=model, sample=sample, text=text)
    return _failed(item, "the given response is missing")


def _judge_item(item: Any) -> JudgeItem:
    win = json.loads(item.reasons).get("win_probability")
    first, second = (item.text_a, item.text_b) if item.shown == 0 else (item.text_b, item.text_a)
    pair = (item.model_a, item.sample_a, item.model_b, item.sample_b)  # not its id, which depends on timing
    prior = None if win is None else (win if item.shown == 0 else 1 - win)
    return JudgeItem(
        item=item.item,
        pair=item.pair,
        prompt=item.prompt,
        order=item.shown,
        seed=seed_of(item.stream, item.prompt_id, item.target, *pair, item.shown),
        messages=_turns.decode(item.messages),
        first=first,
        second=second,
        reference=item.reference,
        prior=prior,
    )
