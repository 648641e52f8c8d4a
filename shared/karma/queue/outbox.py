"""The outbox: publishes the batches that a transaction opened, after its commit, and marks them as published.

Messages are composed from the store, so a batch that is published again has the same content.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec.structs import replace

from karma.config.derived_streams import derivation
from karma.config.pool import Pool
from karma.errors import SettingsError
from karma.llm.reasoning import split_reasoning
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
from karma.messages.signing import UNSIGNED, Keyring
from karma.queue.celery_app import Publisher
from karma.queue.fault_injection import reach
from karma.queue.spent import waits_for_budget
from karma.seeds import seed_of
from karma.store import Store, Transaction
from karma.store.chunks import chunks
from karma.store.given_verdicts import preferred, ratings_by
from karma.store.message_contents import item_contents, pair_contents, prompt_contents
from karma.store.records import BatchRow
from karma.store.template_archive import TemplateArchive
from karma.telemetry import tracing

_turns: msgspec.json.Decoder[tuple[Turn, ...]] = msgspec.json.Decoder(tuple[Turn, ...])


class _Reasons(msgspec.Struct):
    """Of a pair's reasons, what a judge is told."""

    win_probability: float | None = None


_reasons = msgspec.json.Decoder(_Reasons)

#: Batches that are composed and published together.
_BATCHES_AT_ONCE = 64


class Outbox:
    """Publishes opened batches; `name` names its owner in fault points and traces, `incarnation` asks Redis for its id.

    Calls for a stream whose budget is spent stay unpublished.
    """

    def __init__(
        self,
        name: str,
        store: Store,
        pool: Pool,
        publisher: Publisher,
        incarnation: Callable[[], str],
        clock: Callable[[], float],
    ) -> None:
        self._name = name
        self._store = store
        self._pool = pool
        self._publisher = publisher
        self._incarnation = incarnation
        self._clock = clock
        self._templates = TemplateArchive(store)

    def send(self, batch_ids: Sequence[str]) -> None:
        """Compose the batches' messages, publish them and mark them as published. The sweeper repeats what fails.

        Raises:
            OutageError: Redis or the store is unavailable.
        """
        if not batch_ids:
            return
        with tracing.sending(self._name, len(batch_ids)) as trace:
            for ids in chunks(batch_ids, _BATCHES_AT_ONCE):
                self._send(ids, trace)

    def _send(self, ids: Sequence[str], trace: Mapping[str, str]) -> None:
        incarnation = self._incarnation()
        with self._store.reading() as transaction:
            rows = transaction.work.batches(ids)
            spent = transaction.spending.exhausted(self._pool.prices, {row.stream for row in rows})
            if spent:  # the sweeper publishes the rest once the budget is raised
                ids = [row.id for row in rows if not waits_for_budget(row.stage, row.stream, spent)]
            now = self._clock()
            messages = compose(transaction, self._pool, ids, incarnation, now, trace, self._publisher.keyring)
        judges = {message.judge for message in messages if isinstance(message, JudgeBatch)}
        self._templates.keep(self._pool.judges[judge] for judge in judges)
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
    keys: Keyring = UNSIGNED,
) -> list[Batch]:
    """The messages of batches, without items that are closed by now and without batches that have no open item."""
    rows = transaction.work.batches(batch_ids)
    connection = transaction.ledger.connection
    contents: dict[str, list[Any]] = {}
    for read, stages in (
        (prompt_contents, ("generate", "score")),
        (item_contents, ("match",)),
        (pair_contents, ("judge",)),
    ):
        contents |= read(connection, [row.id for row in rows if row.stage in stages])
    tokens = {row.id: keys.token(row.id, row.stage, row.target) for row in rows}
    return [
        _message(row, tokens[row.id], contents[row.id], pool, incarnation, now, trace)
        for row in rows
        if contents.get(row.id)
    ]


def _message(
    row: BatchRow, token: str, items: list[Any], pool: Pool, incarnation: str, now: float, trace: Mapping[str, str]
) -> Batch:
    """The message of a batch. Responses and verdicts without attempts left are sent as failures with the last error."""
    attempts, limit = items[0].attempts, pool.pipeline.max_attempts
    header = Header(
        stream=row.stream,
        batch=row.id,
        token=token,
        priority=row.priority,
        epoch=incarnation,
        published_at=now,
        alone=0 < attempts == limit - 1,
        trace=dict(trace),
    )
    given_up = f"given up after {attempts} attempts: {items[0].error}" if attempts >= limit else None
    match row.stage:
        case "generate":
            if row.target not in pool.models or given_up is not None:
                reason = given_up or f"the model {row.target!r} is no longer in the pool"
                return ScoreBatch(header=header, items=tuple(_failed(item, reason) for item in items))
            return GenerateBatch(
                header=header,
                model=row.target,
                specification=pool.model_fingerprints[row.target],
                items=tuple(map(_generate_item, items)),
            )
        case "score":
            return ScoreBatch(header=header, items=tuple(map(_given_answer, items)))
        case "match":
            return MatchBatch(header=header, items=tuple(MatchItem(item.item, item.prompt) for item in items))
        case "judge":
            if given_up is not None:
                return LearnBatch(header=header, items=tuple(_unjudged(item, given_up) for item in items))
            if row.target not in pool.judges:
                raise SettingsError(
                    f"{pool.path}: open pairs wait for the judge {row.target!r}, which is no longer in the pool. "
                    "Add it again until they are judged."
                )
            return JudgeBatch(
                header=header,
                judge=row.target,
                specification=pool.judge_fingerprints[row.target],
                items=tuple(map(_judge_item, items)),
            )


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
    """The given response of an item: the prompt's `given` is a list of [model, sample, text].

    Its reasoning is separated as that of a model's answer. Texts of a derived stream are stored answers already.
    """
    for model, sample, text in json.loads(item.given or "[]"):
        if model == item.target and sample == item.sample:
            answer = Answer(item=item.item, prompt=item.prompt, model=model, sample=sample, text=text)
            if derivation(item.stream) is not None:
                return answer
            shown, reasoning, is_open = split_reasoning(text)
            if is_open:
                failure = "unfinished reasoning: the given response ends within it"
                return replace(answer, text=None, reasoning=reasoning, failure=failure)
            return replace(answer, text=shown, reasoning=reasoning)
    return _failed(item, "the given response is missing")


def _judge_item(item: Any) -> JudgeItem:
    win = _reasons.decode(item.reasons).win_probability
    first, second = (item.text_a, item.text_b) if item.shown == 0 else (item.text_b, item.text_a)
    pair = (item.model_a, item.sample_a, item.model_b, item.sample_b)  # not its id, which depends on timing
    prior = None if win is None else (win if item.shown == 0 else 1 - win)
    sides = ((item.model_a, item.sample_a), (item.model_b, item.sample_b))
    given = preferred(ratings_by(item.metadata, item.target), *(sides if item.shown == 0 else sides[::-1]))
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
        given=given,
    )
