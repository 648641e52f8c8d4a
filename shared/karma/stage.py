"""The one shape of a worker: claim → handle → record and move on in one transaction → publish → release.

Everything about not losing a batch in hand is here, so that a service is a handler and a page of wiring. Two kinds:
an *asking* stage (generation, judging) touches no store and publishes results as they come; a *recording* stage
(scoring, matching) writes its rows and the change of state in one transaction and publishes after the commit.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from karma import metrics
from karma.broker import Publisher, current_epoch, say_room
from karma.claims import Claims, claim_name
from karma.errors import MessageError
from karma.messages import Batch, decode

if TYPE_CHECKING:  # generation and judging touch no store and are installed without its packages
    from karma.conveyor import Conveyor
    from karma.store import Store, Transaction

log = logging.getLogger(__name__)

Work = Callable[[Any], None]


class Stage:
    """Runs one stage's batches in this process.

    Args:
        name: of the stage (`generate`, `score`, …).
        claims: this process's claims.
        work: does the batch and sees to what follows; anything it raises gives the batch up to the sweeper.
    """

    def __init__(self, name: str, claims: Claims, work: Work) -> None:
        self.name = name
        self._claims = claims
        self._work = work

    def run(self, text: str) -> None:
        """Do the batch in a message. Never raises: a task that fails would only be logged by Celery."""
        try:
            batch = decode(text)
        except MessageError:
            metrics.BATCHES.labels(self.name, "unreadable").inc()
            log.exception("%s: a message was dropped; what it carried stays open and is sent again", self.name)
            return
        name = claim_name(self.name, batch.header.batch, batch.header.part)
        try:
            if not self._claims.take(name):
                metrics.BATCHES.labels(self.name, "duplicate").inc()
                return
            started = time.monotonic()
            if batch.header.published_at:
                metrics.WAIT_SECONDS.labels(self.name).observe(max(0.0, time.time() - batch.header.published_at))
            self._work(batch)
            metrics.STAGE_SECONDS.labels(self.name).observe(time.monotonic() - started)
            metrics.ITEMS.labels(self.name).inc(len(batch.items))
            metrics.BATCHES.labels(self.name, "done").inc()
            self._claims.release(name)
        except Exception:
            # Whatever it was, the ledger still holds the work as open: give it up so that the sweeper sends it again.
            metrics.BATCHES.labels(self.name, "failed").inc()
            log.exception("%s: batch %s failed; it will be sent again", self.name, batch.header.batch)
            self._give_up(name)

    def _give_up(self, name: str) -> None:
        try:
            self._claims.abandon(name)
        except Exception:
            log.warning("%s: Redis is away; the claim on %s will expire by itself", self.name, name)


def asking(handle: Callable[[Any], Iterable[Batch]], publisher: Publisher, redis: Any) -> Work:
    """The work of a stage without a store: every message that the handler yields goes out at once."""

    def work(batch: Batch) -> None:
        for result in handle(batch):
            header = replace(result.header, epoch=current_epoch(redis), published_at=time.time())
            publisher.publish([replace(result, header=header)])

    return work


def recording(handle: Callable[[Any, Transaction], None], store: Store, conveyor: Conveyor, redis: Any) -> Work:
    """The work of a stage with a store: one transaction, then what it opened is sent."""

    def work(batch: Batch) -> None:
        with store.transaction() as transaction:
            handle(batch, transaction)
            opened = list(transaction.work.opened)
        conveyor.send(opened)
        if not opened:
            say_room(redis)

    return work
