"""The sweeper: resends lost batches, and no others. It needs no leader, and any number of sweepers may run.

A batch is lost when it can no longer arrive: its worker's heartbeat expired, its message was in an earlier Redis
incarnation, or two passes find it in no queue although a later message is at the queue's head. The sweeper revokes the
claim before it resends the items in a new batch, so that a holder of the old message starts nothing. A batch that was
opened but never published is published unchanged: a second message of the same batch is a duplicate.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from karma.config.pool import Pool
from karma.errors import BrokerOutageError, OutageError
from karma.messages.lanes import is_express
from karma.queue.backlog import head_published_at, priority_list, queue_state
from karma.queue.celery_app import Publisher, queue_name
from karma.queue.claims import (
    HEARTBEAT_S,
    OTHER_SPECIFICATION,
    RELEASED,
    TOMBSTONE_S,
    claim_name,
    ends_of,
    forget_old,
    revoke,
)
from karma.queue.claims_view import ClaimsView
from karma.queue.fault_injection import reach
from karma.queue.outbox import Outbox
from karma.queue.redis import renew_incarnation
from karma.queue.spent import waits_for_budget
from karma.store import Store, Transaction
from karma.store.chunks import chunks
from karma.store.records import BatchLimits, BatchRow, OpenItem
from karma.store.work import WorkList
from karma.telemetry import metrics
from karma_gateway.admission.budgets import assert_spent
from karma_gateway.redelivery import Redelivery, delay_s

log = logging.getLogger(__name__)

#: The queue of the results of a stage.
_RESULTS = {"generate": "score", "judge": "learn"}

#: Reasons of a loss. Their series begin at 0, so that the first loss shows as a rise.
_REASONS = ("unpublished", "silent", "redis_lost", "vanished", "handed_back", "specification")

#: Losses that a worker announced itself, signed: they cost no call, so they are not counted at the items.
_ANNOUNCED = ("handed_back", "specification")

#: Seconds until work is asked for again that a worker with another pool file gave back.
_OTHER_SPECIFICATION_WAIT_S = 10.0

#: Seconds that rows of finished batches are kept, for late duplicates.
_EMPTY_BATCH_S = 60.0

#: Seconds after an outage of Redis in which no claim is revoked: living workers renew theirs within a heartbeat.
_RENEWAL_S = 2 * HEARTBEAT_S

#: Batches that are checked, and resent, together.
_BATCHES_AT_ONCE = 64


@dataclass(frozen=True)
class Loss:
    """Why a batch is lost; `error` if it counts as a failed attempt."""

    reason: str
    error: str | None = None


class Sweeper:
    """Checks for every batch with open work whether it can still arrive."""

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
        self._pool = pool
        self._settings = pool.pipeline
        self._outbox = outbox
        self._keys = publisher.keyring
        self._redelivery = Redelivery(store, pool, publisher, redis, clock)
        self._redis = redis
        self._clock = clock
        self._epoch = ""
        self._epoch_seen_at = 0.0
        self._outage_at = float("-inf")  # when Redis last failed this sweeper
        self._heads: dict[str, float | None] = {}  # list → when its next message was published
        self._ends: dict[str, float] = {}  # claim → when it ended
        self._missing: set[str] = set()  # batches that have vanished, as far as this pass has looked,
        self._missing_before: set[str] = set()  # and as the pass before found
        for stage in ("generate", "score", "match", "judge"):
            for reason in _REASONS:
                metrics.RESENT.labels(stage, reason)

    def sweep(self) -> int:
        """One pass; returns how many batches were resent. An error in one batch does not stop the others.

        Raises:
            OutageError: Redis or the store is unavailable; the rest waits for the next pass.
        """
        try:
            return self._sweep()
        except BrokerOutageError:
            self._outage_at = self._clock()
            raise

    def _sweep(self) -> int:
        epoch = renew_incarnation(self._redis)
        if epoch != self._epoch:
            self._epoch, self._epoch_seen_at = epoch, self._clock()
        self._heads = {}
        self._missing_before, self._missing = self._missing, set()
        spent = assert_spent(self._store, self._redis, self._pool)
        with self._store.reading() as transaction:
            carried = transaction.work.carried()
        # Calls of streams whose budget is spent are kept as they are until it is raised.
        carried = [row for row in carried if not waits_for_budget(row.stage, row.stream, spent)]
        # Claims are read after the batches, so that a claim that ended in between is seen as ended.
        view = ClaimsView.read(self._redis, self._settings.claim_silence_s, self._keys)
        # The first write of a pass. Redis may answer reads and refuse writes (its disk is full): no heartbeat arrives
        # then, so an old one says nothing about its worker.
        forget_old(self._redis, min(view.now - TOMBSTONE_S, self._oldest_result(view.now)))
        now = self._clock()
        can_revoke = now - self._outage_at > _RENEWAL_S
        resent = sum(self._safely(self._redeliver, [name], view) for name in view.expired()) if can_revoke else 0
        for rows in chunks(carried, _BATCHES_AT_ONCE):
            resent += self._safely(self._send_due, rows, now)
            if can_revoke:
                resent += self._safely(self._resend_lost, rows, view, now)
        with self._store.transaction() as transaction:
            transaction.work.forget_empty(older_than=now - _EMPTY_BATCH_S)
        return resent

    def _oldest_result(self, now: float) -> float:
        """When the oldest unrecorded result was published; until then the tombstone of its batch is needed."""
        states = queue_state(self._redis, list(_RESULTS.values()), now)
        return min(now - age for _length, age in states.values())

    def _redeliver(self, names: Sequence[str], view: ClaimsView) -> int:
        return sum(self._redelivery.redeliver(name, view) for name in names)

    def _send_due(self, rows: Sequence[BatchRow], now: float) -> int:
        due = [row for row in rows if row.published_at is None and self.is_due(row, now)]
        self._outbox.send([row.id for row in due])
        for row in due:
            if not row.due_at:  # a retry was counted when its batch was lost
                metrics.RESENT.labels(row.stage, "unpublished").inc()
        return len(due)

    def is_due(self, row: BatchRow, now: float) -> bool:
        """Whether an unpublished batch is overdue: its retry is due, or the process that opened it has died."""
        return now >= (row.due_at or row.created_at + self._settings.publish_grace_s)

    def _safely(self, action: Callable[..., int], group: Sequence[Any], *more: Any) -> int:
        """Run the action for a whole group; after an error, for each member, so that one does not block the others."""
        try:
            return action(group, *more)
        except OutageError:
            raise  # it affects all of them
        except Exception:
            if len(group) > 1:
                return sum(self._safely(action, [single], *more) for single in group)
            log.exception("%s could not be resent; the next pass tries again", getattr(group[0], "id", group[0]))
            return 0

    def _resend_lost(self, rows: Sequence[BatchRow], view: ClaimsView, now: float) -> int:
        unheld = [row for row in rows if row.published_at is not None and not view.is_held(row.id)]
        self._ends = ends_of(self._redis, [claim_name(row.stage, row.id, 0) for row in unheld])
        losses = [(row, loss) for row in rows if (loss := self.loss_of(row, view, now))]
        # A message in no queue may be in the hand of a worker that is about to claim it. So it is looked for once more.
        self._missing |= {row.id for row, loss in losses if loss.reason == "vanished"}
        losses = [(row, loss) for row, loss in losses if row.id not in self._missing - self._missing_before]
        names = {row.id: claim_name(row.stage, row.id, 0) for row, _loss in losses}
        if not names:
            return 0
        revoked = revoke(self._redis, list(names.values()), self._settings.claim_silence_s)
        reach("sweep.after_fence")
        # One that had ended, and had not when this pass looked, was taken and done since: its results are on their way.
        still_lost = {name for name, had_ended in revoked.items() if not had_ended or name in self._ends}
        return self._resend([(row, loss) for row, loss in losses if names[row.id] in still_lost])

    def loss_of(self, row: BatchRow, view: ClaimsView, now: float) -> Loss | None:
        """Why the batch is lost; None if it can still arrive. A batch that only waits is not lost.

        `_ends` and `_heads` are of this pass.
        """
        if row.published_at is None:
            return None  # never published
        if view.is_held(row.id) or view.has_results(row.id):
            return None  # a worker holds it, or its results are redelivered
        name = claim_name(row.stage, row.id, 0)
        if name in view.beats.get(row.id, {}):
            # Results that its worker published may still wait to be recorded.
            if row.stage in _RESULTS and not self._passed(_RESULTS[row.stage], row, view.last_seen(name)):
                return None
            loss = _announced(view.reason(name, row.target if row.stage in _RESULTS else ""))
            # A job goes on at the provider without its worker: whoever gets its requests next finds it there.
            return Loss(loss.reason) if batches_at_provider(self._pool, row.stage, row.target) else loss
        ended = self._ends.get(name)
        if ended is not None and row.stage in _RESULTS:
            queue, sent_at = _RESULTS[row.stage], ended
        elif row.epoch != self._epoch:
            # Live workers renew their claims within a heartbeat of the new incarnation.
            return Loss("redis_lost") if now - self._epoch_seen_at > _RENEWAL_S else None
        else:
            queue, sent_at = queue_name(row.stage, row.target), row.published_at
        lost = self._passed(queue, row, sent_at + self._settings.publish_grace_s, now)
        return Loss("vanished") if lost else None

    def _passed(self, queue: str, row: BatchRow, moment: float, now: float | None = None) -> bool:
        """Whether the list of a queue that the batch belongs to has no message left from before a moment."""
        name = priority_list(queue, row.priority, is_express(row.id))
        if name not in self._heads:
            self._heads[name] = head_published_at(self._redis, name)
        head = self._heads[name]
        return (now is None or now > moment) if head is None else head > moment

    def _resend(self, losses: Sequence[tuple[BatchRow, Loss]]) -> int:
        """Resend the open items of lost batches; returns how many batches had any.

        A batch has none if another sweeper or a late result was first.
        """
        with self._store.transaction() as transaction:
            work = transaction.work
            ids = [row.id for row, _loss in losses]
            transaction.ledger.lock_prompts(item.prompt for items in work.items_in(ids).values() for item in items)
            carrying = work.items_in(ids)
            losses = [(row, self._counted(loss, carrying[row.id])) for row, loss in losses if row.id in carrying]
            self._reopen(work, losses)
            for row, loss in losses:
                if loss.error is not None:
                    self._retry(transaction, row, loss.error)
            opened = list(work.opened)
            reach("sweep.before_commit")
        reach("sweep.after_commit")
        for row, loss in losses:
            log.warning("batch %s (%s %s) was lost, %s; it is resent", row.id, row.stage, row.target, loss)
            metrics.RESENT.labels(row.stage, loss.reason).inc()
        self._outbox.send(opened)
        return len(losses)

    def _counted(self, loss: Loss, items: Sequence[OpenItem]) -> Loss:
        """The loss; a failed attempt if its items were asked for too often, so that nobody can have that repeated."""
        if loss.error is None and loss.reason not in _ANNOUNCED:
            asked = max(item.resends for item in items)
            if asked >= self._settings.max_resends:
                return Loss(loss.reason, f"asked for {asked + 1} times and no result came back")
        return loss

    def _reopen(self, work: WorkList, losses: Sequence[tuple[BatchRow, Loss]]) -> None:
        for announced, due_in_s in ((False, 0.0), (True, 0.0), (True, _OTHER_SPECIFICATION_WAIT_S)):
            rows = [
                row
                for row, loss in losses
                if loss.error is None
                and (loss.reason in _ANNOUNCED) == announced
                and (loss.reason == "specification") == bool(due_in_s)
            ]
            if rows:
                work.reopen(rows, self._limits, counts=not announced, due_in_s=due_in_s)

    def _retry(self, transaction: Transaction, row: BatchRow, error: str) -> None:
        for item in transaction.work.retry(row, error, self._due_in_s):
            if item.stage == "match" and item.attempts >= self._settings.max_attempts:
                transaction.ledger.dead_letter(item.prompt, f"given up after {item.attempts} attempts: {item.error}")

    def _due_in_s(self, attempts: int) -> float:
        """Seconds until an item's next attempt; an item without attempts left is published as a failure at once."""
        return delay_s(attempts) if attempts < self._settings.max_attempts else 0.0


def batches_at_provider(pool: Pool, stage: str, target: str) -> bool:
    """Whether the work of a model or judge goes through its provider's batch jobs."""
    if stage == "judge":
        judge = pool.judges.get(target)
        return judge is not None and judge.model is not None and judge.model.batch
    return stage == "generate" and target in pool.models and pool.models[target].batch


def _announced(reason: str) -> Loss:
    """The loss of a batch whose claim expired for this reason."""
    if reason == RELEASED:
        return Loss("handed_back")
    return Loss("specification") if reason == OTHER_SPECIFICATION else Loss("silent", reason)
