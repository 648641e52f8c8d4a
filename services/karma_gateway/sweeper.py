"""The sweeper: sends again what was lost, and only that. It needs no leader and may run any number of times.

Lost is what cannot arrive any more: a batch whose worker fell silent, that went down with
another life of Redis, or that is in no queue although what was published after it is at the queue's head. Before a
batch is sent again its claim is given up for ever, so that whoever still has the message begins nothing with it. What
was opened and never published is sent as it is: a second message of the same batch is a duplicate.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from karma import metrics
from karma.broker import renew_epoch
from karma.claims import HANDED_BACK, HEARTBEAT_S, ClaimsView, claim_name, ended_at, forget_old, give_up
from karma.conveyor import Conveyor
from karma.errors import OutageError
from karma.faults import reach
from karma.pool import Pool
from karma.queues import Publisher, head_published_at, queue_name
from karma.store import Store
from karma.store.records import BatchLimits, BatchRow
from karma_gateway.redelivery import RESULT_STAGES, Redelivery, delay_s

log = logging.getLogger(__name__)

#: Whose queue the results of a stage wait in.
_RESULTS = {"generate": "score", "judge": "learn"}

#: Rows of batches whose work is done are kept this long: a duplicate may still ask for them.
_EMPTY_BATCH_S = 60.0


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
        conveyor: Conveyor,
        publisher: Publisher,
        redis: Any,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._limits = BatchLimits(pool.pipeline.batch_items, pool.pipeline.batch_bytes)
        self._settings = pool.pipeline
        self._conveyor = conveyor
        self._redelivery = Redelivery(store, pool, publisher, redis, clock)
        self._redis = redis
        self._clock = clock
        self._epoch = ""
        self._epoch_seen_at = 0.0
        self._heads: dict[tuple[str, int], float | None] = {}

    def sweep(self) -> int:
        """One pass; returns how many batches were sent again. A batch that fails does not stop the others.

        Raises:
            OutageError: Redis or the store is away; the rest waits for the next pass.
        """
        epoch = renew_epoch(self._redis)
        if epoch != self._epoch:
            self._epoch, self._epoch_seen_at = epoch, self._clock()
        self._heads = {}
        with self._store.reading() as transaction:
            carried = transaction.work.carried()
        # Claims are read after the batches: one that ended in between is then seen as ended.
        view = ClaimsView.read(self._redis, self._settings.claim_silence_s)
        now = self._clock()
        resent = sum(self._safely(self._redelivery.look, name, view) for name in view.silent())
        resent += sum(self._safely(self._send_if_due, row, now) for row in carried)
        resent += sum(self._safely(self._resend_if_lost, row, view, now) for row in carried)
        forget_old(self._redis, view.now)
        with self._store.transaction() as transaction:
            transaction.work.forget_empty(older_than=now - _EMPTY_BATCH_S)
        return resent

    def _send_if_due(self, row: BatchRow, now: float) -> bool:
        if row.published_at is not None or not self.is_due(row, now):
            return False
        self._conveyor.send([row.id])
        metrics.RESENT.labels(row.stage, "unpublished").inc()
        return True

    def is_due(self, row: BatchRow, now: float) -> bool:
        """Whether a batch that was not sent should have been: its retry is due, or whoever opened it is gone."""
        return now >= (row.due_at or row.created_at + self._settings.publish_grace_s)

    def _safely(self, action: Callable[..., bool], what: Any, *more: Any) -> bool:
        """Do it for one batch or claim; what is wrong with it must not hold up the others."""
        try:
            return action(what, *more)
        except OutageError:
            raise  # it holds for the others too
        except Exception:
            log.exception("%s could not be sent again; it stays for the next pass", getattr(what, "id", what))
            return False

    def _resend_if_lost(self, row: BatchRow, view: ClaimsView, now: float) -> bool:
        loss = self.loss_of(row, view, now)
        if loss is None or not give_up(self._redis, claim_name(row.stage, row.id, 0), self._settings.claim_silence_s):
            return False
        reach("sweep.after_fence")
        if not self._resend(row, loss):
            return False
        metrics.RESENT.labels(row.stage, loss.reason).inc()
        return True

    def loss_of(self, row: BatchRow, view: ClaimsView, now: float) -> Loss | None:
        """Why the batch cannot arrive any more; None where it still may. A batch that merely waits is not lost."""
        if row.published_at is None:
            return None  # it was never sent
        claims = view.beats.get(row.id, {})
        if view.living(row.id) or any(name.startswith(RESULT_STAGES) for name in claims):
            return None  # somebody is at it, or its results are in hand and are delivered again
        name = claim_name(row.stage, row.id, 0)
        if name in claims:
            # What its worker brought before may still wait to be recorded.
            if row.stage in _RESULTS and not self._passed(_RESULTS[row.stage], row.priority, view.last_seen(name)):
                return None
            error = view.fate(name)
            return Loss("handed_back") if error == HANDED_BACK else Loss("silent", error)
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

    def _resend(self, row: BatchRow, loss: Loss) -> bool:
        """Send a lost batch's open items again; False where another sweeper, or a late result, was first."""
        with self._store.transaction() as transaction:
            work = transaction.work
            transaction.ledger.lock_prompts(item.prompt for item in work.items_of(row.id))
            if not work.items_of(row.id):
                return False
            if loss.error is None:
                work.reopen(row, self._limits)
            else:
                for item in work.retry(row, loss.error, self._due_in_s):
                    if item.stage == "match" and item.attempts >= self._settings.max_attempts:
                        error = f"given up after {item.attempts} attempts: {item.error}"
                        transaction.ledger.bury(item.prompt, error)
            opened = list(work.opened)
            reach("sweep.before_commit")
        reach("sweep.after_commit")
        log.warning("batch %s (%s %s) was lost, %s; it is sent again", row.id, row.stage, row.target, loss)
        self._conveyor.send(opened)
        return True

    def _due_in_s(self, attempts: int) -> float:
        """How long an item waits for its next attempt; an item that has no more is sent on as a failure at once."""
        return delay_s(attempts) if attempts < self._settings.max_attempts else 0.0
