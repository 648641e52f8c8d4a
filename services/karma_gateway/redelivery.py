"""Redelivery: publishes the results that a dead worker had received again.

These results were paid for and are in no queue. Lost work without results is resent by the sweeper
(`karma_gateway.sweeper`).
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from karma.config.pool import Pool
from karma.errors import RefusedError
from karma.messages import LearnBatch, ScoreBatch
from karma.queue.celery_app import Publisher
from karma.queue.claims import RELEASED, RESULT_STAGES, kept_result, refresh_end, revoke
from karma.queue.claims_view import ClaimsView
from karma.queue.fault_injection import reach
from karma.queue.redis import current_incarnation
from karma.queue.refused import refuse
from karma.store import Store
from karma.store.prompt_states import IN_FLIGHT
from karma.telemetry import metrics
from karma.worker.admission import ASKED_AT, Admitted, admit

log = logging.getLogger(__name__)

_FIRST_DELAY_S = 1.0
_MOST_DELAY_S = 60.0


def delay_s(attempts: int) -> float:
    """Seconds until the next attempt, by the number of failed attempts: 0, 1, 4, 16, 60."""
    return min(_MOST_DELAY_S, _FIRST_DELAY_S * 4 ** (attempts - 1)) if attempts else 0.0


class Redelivery:
    """Handles expired claims: publishes their results again, and revokes claims without open work."""

    def __init__(self, store: Store, pool: Pool, publisher: Publisher, redis: Any, clock: Callable[[], float]) -> None:
        self._store = store
        self._settings = pool.pipeline
        self._publisher = publisher
        self._redis = redis
        self._clock = clock

    def redeliver(self, name: str, view: ClaimsView) -> bool:
        """Handle one expired claim; returns whether results were published again.

        A failed attempt is counted for each open item of the message, and each item is then published alone. An item
        without attempts left dead-letters its prompt with the last error. The old claim is revoked last: if this
        process dies before that, the next pass does it again, and a result that arrives twice changes nothing.
        """
        if not name.startswith(RESULT_STAGES):
            if not self._has_open_work(name):
                self._revoke(name)
            return False
        kept = self._kept(name)
        if kept is None:  # refused, or lost with Redis: the sweeper requests the open items again
            self._revoke(name)
            return False
        batch, error = kept.batch, view.reason(name)
        with self._store.transaction() as transaction:
            prompts = transaction.ledger.lock_prompts(item.prompt for item in batch.items)
            open_items = transaction.work.items(item.item for item in batch.items)
            if kept.sender:  # what its worker was not asked for is not published in the ledger's own name
                asked_at = ASKED_AT[name.partition(":")[0]]
                open_items = {
                    id_: item
                    for id_, item in open_items.items()
                    if (item.stage, item.target) == (asked_at, kept.sender)
                }
            tried = max((item.result_attempts for item in open_items.values()), default=0)
            if view.now < view.last_seen(name) + delay_s(tried):
                return False
            dead_lettered: set[int] = set()
            if error != RELEASED:
                # Late results must not count against a prompt that is dead or was requeued.
                in_flight = {prompt.id for prompt in prompts.values() if prompt.state in IN_FLIGHT}
                tried_now = [item for item in open_items.values() if item.prompt in in_flight]
                transaction.work.count_result_attempt((item.id for item in tried_now), error)
                for item in tried_now:
                    attempts = item.result_attempts + 1
                    if attempts >= self._settings.max_attempts:
                        dead_lettered.add(item.prompt)
                        reason = f"recording was given up after {attempts} attempts: {error}"
                        transaction.ledger.dead_letter(item.prompt, reason)
            items = [item for item in batch.items if item.item in open_items and item.prompt not in dead_lettered]
            groups = [[item] for item in items] if error != RELEASED or not items else [items]
            # Published before the commit: if Redis refuses the messages, no attempt is counted.
            self._publisher.publish([self._message(batch, group) for group in groups])
            reach("redeliver.before_commit")
        reach("redeliver.after_commit")
        refresh_end(self._redis, batch.header.batch, "generate" if isinstance(batch, ScoreBatch) else "judge")
        reach("redeliver.after_publish")
        self._revoke(name)
        if groups:
            log.warning("the results in %s are redelivered: %s", name, error)
            metrics.RESENT.labels(name.partition(":")[0], "redelivered").inc()
        return bool(groups)

    def _kept(self, name: str) -> Admitted | None:
        """The results that are kept beside a claim; None if they are lost or refused."""
        kept = kept_result(self._redis, name)
        if kept is None:
            return None
        stage = name.partition(":")[0]
        try:
            return admit(stage, kept, self._publisher.keyring)
        except RefusedError as cause:
            log.warning("the results in %s are refused; their items are requested again: %s", name, cause)
            refuse(self._redis, stage, cause, kept)
            return None

    def _has_open_work(self, name: str) -> bool:
        with self._store.reading() as transaction:
            return bool(transaction.work.items_of(name.split(":")[1]))

    def _message(self, batch: Any, items: Sequence[Any]) -> ScoreBatch | LearnBatch:
        """Part of a message with a new part number, because the claim of the old part was already acquired."""
        header = replace(
            batch.header,
            part=secrets.randbits(31),
            epoch=current_incarnation(self._redis),
            published_at=self._clock(),
        )
        message: ScoreBatch | LearnBatch = replace(batch, header=header, items=tuple(items))
        return message

    def _revoke(self, name: str) -> None:
        revoke(self._redis, [name], self._settings.claim_silence_s)
