"""The sweeper: sends again what was lost, and only that. It needs no leader and may run any number of times."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from karma import metrics
from karma.broker import Publisher, head_published_at, queue_name, renew_epoch
from karma.claims import HEARTBEAT_S, ClaimsView, forget_old
from karma.conveyor import Conveyor
from karma.messages import Answer, Batch, Header, LearnBatch, ScoreBatch, Verdict
from karma.pool import Pool
from karma.store import Store
from karma.store.records import BatchLimits, BatchRow, OpenItem

log = logging.getLogger(__name__)

#: Whose queue the results of a stage wait in.
_RESULTS = {"generate": "score", "judge": "learn"}

#: Rows of batches whose work is done are kept this long: a duplicate may still ask for them.
_EMPTY_BATCH_S = 60.0


@dataclass(frozen=True)
class Loss:
    """Why a batch is taken for lost; `attempted`: a worker was at it and fell silent."""

    reason: str
    attempted: bool = False
    claim: str | None = None


class Sweeper:
    """Looks at every batch that carries open work and decides whether it can still arrive."""

    def __init__(
        self,
        store: Store,
        pool: Pool,
        conveyor: Conveyor,
        publisher: Publisher,
        redis: Any,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._limits = BatchLimits(pool.pipeline.batch_items, pool.pipeline.batch_bytes)
        self._settings = pool.pipeline
        self._conveyor = conveyor
        self._publisher = publisher
        self._redis = redis
        self._clock = clock
        self._epoch = ""
        self._epoch_seen_at = 0.0
        self._heads: dict[tuple[str, int], float | None] = {}

    def sweep(self) -> int:
        """One pass; returns how many batches were sent again. A batch that fails does not stop the others."""
        epoch = renew_epoch(self._redis)
        if epoch != self._epoch:
            self._epoch, self._epoch_seen_at = epoch, self._clock()
        self._heads = {}
        now = self._clock()
        with self._store.reading() as transaction:
            carried = transaction.work.carried(older_than=now - self._settings.publish_grace_s)
            # Claims are read after the batches: one that ended in between is then seen as ended.
            view = ClaimsView(self._redis, self._settings.claim_silence_s)
        given_up: list[str] = []
        resent = 0
        for row in carried:
            loss = self.loss_of(row, view, now)
            if loss is None:
                continue
            try:
                if not self._resend(row, loss):
                    continue
            except Exception:
                log.exception("batch %s could not be sent again; it stays for the next pass", row.id)
                continue
            resent += 1
            metrics.RESENT.labels(row.stage, loss.reason).inc()
            if loss.claim is not None:
                given_up.append(loss.claim)
        forget_old(self._redis, given_up, view.now)
        with self._store.transaction() as transaction:
            transaction.work.forget_empty(older_than=now - _EMPTY_BATCH_S)
        return resent

    def loss_of(self, row: BatchRow, view: ClaimsView, now: float) -> Loss | None:
        """Why the batch cannot arrive any more; None where it still may. A batch that merely waits is not lost."""
        if row.published_at is None:
            return Loss("unpublished")
        if view.claimed(row.id):
            return None
        silent = view.silent(row.id)
        if silent is not None:
            return Loss("silent", attempted=True, claim=silent)
        if row.epoch != self._epoch:
            renewed = now - self._epoch_seen_at > 2 * HEARTBEAT_S
            return Loss("redis_lost") if renewed else None
        ended = view.ended(row.id, row.stage)
        if ended is not None and row.stage in _RESULTS:
            queue, sent_at = _RESULTS[row.stage], ended
        else:
            queue, sent_at = queue_name(row.stage, row.target), row.published_at
        head = self._head(queue, row.priority)
        oldest = now if head is None else head
        return Loss("vanished") if oldest > sent_at + self._settings.publish_grace_s else None

    def _head(self, queue: str, priority: int) -> float | None:
        key = (queue, priority)
        if key not in self._heads:
            self._heads[key] = head_published_at(self._redis, queue, priority)
        return self._heads[key]

    def _resend(self, row: BatchRow, loss: Loss) -> bool:
        """Send a lost batch's open items again; False where another sweeper, or a late result, was first."""
        with self._store.transaction() as transaction:
            ledger = transaction.ledger
            prompts = {item.prompt for item in transaction.work.items_of(row.id)}
            ledger.lock_prompts(prompts)
            items = transaction.work.reopen(row, loss.attempted, loss.reason, self._limits)
            if not items:
                return False
            spent = [item for item in items if item.attempts >= self._settings.max_attempts]
            for item in spent:
                if item.stage not in _RESULTS or item.attempts >= 2 * self._settings.max_attempts:
                    ledger.bury(item.prompt, f"{item.stage} was given up after {item.attempts} attempts: {loss.reason}")
            failed = [item for item in spent if item.stage in _RESULTS]
            rows = {one.id: one for one in transaction.work.batches([item.batch for item in failed])}
            opened = [batch for batch in transaction.work.opened if batch not in rows]
        log.warning("batch %s (%s %s) was lost: %s; sent again", row.id, row.stage, row.target, loss.reason)
        self._conveyor.send(opened)
        if failed:
            self._publisher.publish([self._failure(item, rows[item.batch]) for item in failed])
            with self._store.transaction() as transaction:
                transaction.work.mark_published(list(rows), self._epoch)
        return True

    def _failure(self, item: OpenItem, row: BatchRow) -> Batch:
        """The result of an item whose attempts are spent: a failure with its reason, on the way of every result."""
        reason = f"given up after {item.attempts} attempts: the worker fell silent"
        now = self._clock()
        header = Header(
            stream=row.stream, batch=row.id, token=row.token, priority=row.priority, epoch=self._epoch, published_at=now
        )
        if item.stage == "generate":
            answer = Answer(item=item.id, prompt=item.prompt, model=item.target, sample=item.sample, failure=reason)
            return ScoreBatch(header=header, items=(answer,))
        verdict = Verdict(
            item=item.id,
            pair=item.pair,
            prompt=item.prompt,
            judge=item.target,
            order=1 if item.shown else 0,
            failure=reason,
        )
        return LearnBatch(header=header, items=(verdict,))
