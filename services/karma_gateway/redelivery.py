"""Results in hand of a worker that died are delivered again: they were paid for, and are in no queue any more.

Lost work without results is found and sent again by the sweeper (`karma_gateway.sweeper`).
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from karma.config.pool import Pool
from karma.errors import MessageError
from karma.messages import LearnBatch, ScoreBatch, decode
from karma.queue.celery_app import Publisher
from karma.queue.claims import RELEASED, ClaimsView, kept_result, refresh_end, revoke
from karma.queue.fault_injection import reach
from karma.queue.redis import current_incarnation
from karma.store import Store
from karma.store.ledger import IN_FLIGHT
from karma.store.records import OpenItem
from karma.telemetry import metrics

log = logging.getLogger(__name__)

#: How the claims on results begin.
RESULT_STAGES = ("score:", "learn:")

_FIRST_DELAY_S = 1.0
_MOST_DELAY_S = 60.0


def delay_s(attempts: int) -> float:
    """How long work waits after so many attempts that failed: 0, 1, 4, 16, 60 s."""
    return min(_MOST_DELAY_S, _FIRST_DELAY_S * 4 ** (attempts - 1)) if attempts else 0.0


class Redelivery:
    """Looks at silent claims: results are delivered again, and claims on nothing open are forgotten."""

    def __init__(self, store: Store, pool: Pool, publisher: Publisher, redis: Any, clock: Callable[[], float]) -> None:
        self._store = store
        self._settings = pool.pipeline
        self._publisher = publisher
        self._redis = redis
        self._clock = clock

    def look(self, name: str, view: ClaimsView) -> bool:
        """One silent claim; returns whether results were delivered again.

        An attempt that failed is counted at each open item of the message, and each is then delivered alone; where
        the attempts are spent the prompt is dead, with the last error. The old claim goes last: a process that dies
        in between leaves it to the next pass, and a result that came twice changes nothing.
        """
        batch = self._results(name)
        if batch is None:
            if not name.startswith(RESULT_STAGES) and not self._is_carried(name):
                self._forget(name)
            return False
        error = view.reason(name)
        with self._store.transaction() as transaction:
            prompts = transaction.ledger.lock_prompts(item.prompt for item in batch.items)
            open_items = transaction.work.items(item.item for item in batch.items)
            tried = max((item.result_attempts for item in open_items.values()), default=0)
            if view.now < view.last_seen(name) + delay_s(tried):
                return False
            dead_lettered: set[int] = set()
            if error != RELEASED:
                # A prompt that is dead, or was brought back and waits, is not at the mercy of its late results.
                tried_now = [
                    item
                    for item in open_items.values()
                    if item.prompt in prompts and prompts[item.prompt].state in IN_FLIGHT
                ]
                transaction.work.count_result_attempt((item.id for item in tried_now), error)
                for item in self._spent(tried_now):
                    dead_lettered.add(item.prompt)
                    given_up = f"recording was given up after {item.result_attempts + 1} attempts: {error}"
                    transaction.ledger.dead_letter(item.prompt, given_up)
            items = [item for item in batch.items if item.item in open_items and item.prompt not in dead_lettered]
            if error == RELEASED:
                groups: list[list[Any]] = [items] if items else []
            else:
                groups = [[item] for item in items]
            # Before the commit: where Redis takes no message, this pass counted nothing and the next one may.
            self._publisher.publish([self._message(batch, group) for group in groups])
            reach("redeliver.before_commit")
        reach("redeliver.after_commit")
        refresh_end(self._redis, batch.header.batch, "generate" if isinstance(batch, ScoreBatch) else "judge")
        reach("redeliver.after_publish")
        self._forget(name)
        if groups:
            log.warning("the results in %s are delivered again: %s", name, error)
            metrics.RESENT.labels(name.partition(":")[0], "redelivered").inc()
        return bool(groups)

    def _results(self, name: str) -> ScoreBatch | LearnBatch | None:
        """The results that a claim's holder had in hand, if it is on results and they can be read."""
        if not name.startswith(RESULT_STAGES):
            return None
        kept = kept_result(self._redis, name)
        try:
            batch = decode(kept) if kept is not None else None
        except MessageError as cause:
            log.warning("the results in %s cannot be read; what they answer is asked for again: %s", name, cause)
            batch = None
        if isinstance(batch, ScoreBatch | LearnBatch):
            return batch
        self._forget(name)  # lost with Redis, or unreadable: what is open is asked for again
        return None

    def _is_carried(self, name: str) -> bool:
        with self._store.reading() as transaction:
            return bool(transaction.work.items_of(name.split(":")[1]))

    def _spent(self, items: Any) -> Sequence[OpenItem]:
        return [item for item in items if item.result_attempts + 1 >= self._settings.max_attempts]

    def _message(self, batch: Any, items: Sequence[Any]) -> ScoreBatch | LearnBatch:
        """Part of a message under a claim of its own: the old one was held already."""
        header = replace(
            batch.header,
            part=secrets.randbits(31),
            epoch=current_incarnation(self._redis),
            published_at=self._clock(),
        )
        message: ScoreBatch | LearnBatch = replace(batch, header=header, items=tuple(items))
        return message

    def _forget(self, name: str) -> None:
        revoke(self._redis, [name], self._settings.claim_silence_s)
