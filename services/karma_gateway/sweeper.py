"""The sweeper: sends again what was lost, and only that. It needs no leader and may run any number of times.

Lost is what cannot arrive any more: a batch whose worker fell silent, that went down with
another life of Redis, or that is in no queue although what was published after it is at the queue's head. Before a
batch is sent again its claim is given up for ever, so that whoever still has the message begins nothing with it. What
was opened and never published is sent as it is: a second message of the same batch is a duplicate.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from karma.config.pool import Pool
from karma.errors import OutageError
from karma.queue.backlog import head_published_at, queue_state
from karma.queue.celery_app import Publisher, queue_name
from karma.queue.claims import HEARTBEAT_S, RELEASED, TOMBSTONE_S, ClaimsView, claim_name, ended_at, forget_old, revoke
from karma.queue.fault_injection import reach
from karma.queue.outbox import Outbox
from karma.queue.redis import renew_incarnation
from karma.store import Store, Transaction
from karma.store.chunks import chunks
from karma.store.records import BatchLimits, BatchRow
from karma.telemetry import metrics
from karma_gateway.redelivery import RESULT_STAGES, Redelivery, delay_s

log = logging.getLogger(__name__)

#: Whose queue the results of a stage wait in.
_RESULTS = {"generate": "score", "judge": "learn"}

#: Why batches of each stage may be lost: series that begin at 0, so that the first loss is seen as a rise.
_REASONS = ("unpublished", "silent", "redis_lost", "vanished", "handed_back")

#: Rows of batches whose work is done are kept this long: a duplicate may still ask for them.
_EMPTY_BATCH_S = 60.0

#: Batches looked at, and sent again, in one go.
_BATCHES_AT_ONCE = 64


@dataclass(frozen=True)
class Loss:
    """Why a batch is taken for lost; `error`: what ended the attempt at it, where one is to be counted."""

    reason: str
    error: str | None = None


class Sweeper:
    """Looks at every batch that carries open work and decides whether it can still arrive."""

    def __init__(
        self,
        store: Store,
        pool: Pool,
        outbox: Outbox,
        publisher: Publisher,
        redis: Any,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._limits = BatchLimits(pool.pipeline.batch_items, pool.pipeline.batch_bytes)
        self._settings = pool.pipeline
        self._outbox = outbox
        self._redelivery = Redelivery(store, pool, publisher, redis, clock)
        self._redis = redis
        self._clock = clock
        self._epoch = ""
        self._epoch_seen_at = 0.0
        self._heads: dict[tuple[str, int], float | None] = {}
        for stage in ("generate", "score", "match", "judge"):
            for reason in _REASONS:
                metrics.RESENT.labels(stage, reason)

    def sweep(self) -> int:
        """One pass; returns how many batches were sent again. A batch that fails does not stop the others.

        Raises:
            OutageError: Redis or the store is away; the rest waits for the next pass.
        """
        epoch = renew_incarnation(self._redis)
        if epoch != self._epoch:
            self._epoch, self._epoch_seen_at = epoch, self._clock()
        self._heads = {}
        with self._store.reading() as transaction:
            carried = transaction.work.carried()
        # Claims are read after the batches: one that ended in between is then seen as ended.
        view = ClaimsView.read(self._redis, self._settings.claim_silence_s)
        now = self._clock()
        resent = sum(self._safely(self._redeliver, [name], view) for name in view.expired())
        for rows in chunks(carried, _BATCHES_AT_ONCE):
            resent += self._safely(self._send_due, rows, now)
            resent += self._safely(self._resend_lost, rows, view, now)
        forget_old(self._redis, min(view.now - TOMBSTONE_S, self._oldest_result(view.now)))
        with self._store.transaction() as transaction:
            transaction.work.forget_empty(older_than=now - _EMPTY_BATCH_S)
        return resent

    def _oldest_result(self, now: float) -> float:
        """When the oldest result that waits for recording was published; its batch must be known as done until then."""
        states = queue_state(self._redis, list(_RESULTS.values()), now)
        return min(now - age for _length, age in states.values())

    def _redeliver(self, names: Sequence[str], view: ClaimsView) -> int:
        return sum(self._redelivery.look(name, view) for name in names)

    def _send_due(self, rows: Sequence[BatchRow], now: float) -> int:
        due = [row for row in rows if row.published_at is None and self.is_due(row, now)]
        self._outbox.send([row.id for row in due])
        for row in due:
            if not row.due_at:  # a retry was counted when its batch was lost
                metrics.RESENT.labels(row.stage, "unpublished").inc()
        return len(due)

    def is_due(self, row: BatchRow, now: float) -> bool:
        """Whether a batch that was not sent should have been: its retry is due, or whoever opened it is gone."""
        return now >= (row.due_at or row.created_at + self._settings.publish_grace_s)

    def _safely(self, action: Callable[..., int], group: Sequence[Any], *more: Any) -> int:
        """Do it for batches or claims together, else for each: what is wrong with one must not hold up the others."""
        try:
            return action(group, *more)
        except OutageError:
            raise  # it holds for the others too
        except Exception:
            if len(group) > 1:
                return sum(self._safely(action, [one], *more) for one in group)
            one = getattr(group[0], "id", group[0])
            log.exception("%s could not be sent again; it stays for the next pass", one)
            return 0

    def _resend_lost(self, rows: Sequence[BatchRow], view: ClaimsView, now: float) -> int:
        losses = [(row, loss) for row in rows if (loss := self.loss_of(row, view, now))]
        names = {row.id: claim_name(row.stage, row.id, 0) for row, _loss in losses}
        if not names:
            return 0
        given_up = revoke(self._redis, list(names.values()), self._settings.claim_silence_s)
        reach("sweep.after_fence")
        return self._resend([(row, loss) for row, loss in losses if names[row.id] in given_up])

    def loss_of(self, row: BatchRow, view: ClaimsView, now: float) -> Loss | None:
        """Why the batch cannot arrive any more; None where it still may. A batch that merely waits is not lost."""
        if row.published_at is None:
            return None  # it was never sent
        claims = view.beats.get(row.id, {})
        if view.is_held(row.id) or any(name.startswith(RESULT_STAGES) for name in claims):
            return None  # somebody is at it, or its results are in hand and are delivered again
        name = claim_name(row.stage, row.id, 0)
        if name in claims:
            # What its worker brought before may still wait to be recorded.
            if row.stage in _RESULTS and not self._passed(_RESULTS[row.stage], row.priority, view.last_seen(name)):
                return None
            error = view.reason(name)
            return Loss("handed_back") if error == RELEASED else Loss("silent", error)
        ended = ended_at(self._redis, row.id, row.stage)
        if ended is not None and row.stage in _RESULTS:
            queue, sent_at = _RESULTS[row.stage], ended
        elif row.epoch != self._epoch:
            # Living workers renew their claims within a heartbeat of the new life.
            return Loss("redis_lost") if now - self._epoch_seen_at > 2 * HEARTBEAT_S else None
        else:
            queue, sent_at = queue_name(row.stage, row.target), row.published_at
        lost = self._passed(queue, row.priority, sent_at + self._settings.publish_grace_s, now)
        return Loss("vanished") if lost else None

    def _passed(self, queue: str, priority: int, moment: float, now: float | None = None) -> bool:
        """Whether everything that was published to a queue before a moment has been taken from it."""
        key = (queue, priority)
        if key not in self._heads:
            self._heads[key] = head_published_at(self._redis, queue, priority)
        head = self._heads[key]
        return (now is None or now > moment) if head is None else head > moment

    def _resend(self, losses: Sequence[tuple[BatchRow, Loss]]) -> int:
        """Send the open items of lost batches again; returns how many batches had any.

        A batch has none where another sweeper, or a late result, was first.
        """
        with self._store.transaction() as transaction:
            work = transaction.work
            ids = [row.id for row, _loss in losses]
            transaction.ledger.lock_prompts(item.prompt for items in work.items_in(ids).values() for item in items)
            carrying = work.items_in(ids)
            losses = [(row, loss) for row, loss in losses if row.id in carrying]
            work.reopen([row for row, loss in losses if loss.error is None], self._limits)
            for row, loss in losses:
                if loss.error is not None:
                    self._retry(transaction, row, loss.error)
            opened = list(work.opened)
            reach("sweep.before_commit")
        reach("sweep.after_commit")
        for row, loss in losses:
            log.warning("batch %s (%s %s) was lost, %s; it is sent again", row.id, row.stage, row.target, loss)
            metrics.RESENT.labels(row.stage, loss.reason).inc()
        self._outbox.send(opened)
        return len(losses)

    def _retry(self, transaction: Transaction, row: BatchRow, error: str) -> None:
        for item in transaction.work.retry(row, error, self._due_in_s):
            if item.stage == "match" and item.attempts >= self._settings.max_attempts:
                transaction.ledger.dead_letter(item.prompt, f"given up after {item.attempts} attempts: {item.error}")

    def _due_in_s(self, attempts: int) -> float:
        """How long an item waits for its next attempt; an item that has no more is sent on as a failure at once."""
        return delay_s(attempts) if attempts < self._settings.max_attempts else 0.0
