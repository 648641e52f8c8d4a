"""The one shape of a worker: claim → handle → record and move on in one transaction → publish → release.

Everything about not losing a batch in hand is here, so that a service is a handler and a page of wiring. Two kinds:
an *asking* stage (generation, judging) touches no store and publishes results as they come; a *recording* stage
(scoring, matching) writes its rows and the change of state in one transaction and publishes after the commit.

What is in hand is held while Redis or the store is away; a batch that fails is let go, and the sweeper sends its open
items again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from karma import lease
from karma.batch_results import reason_of
from karma.errors import MessageError, OutageError, ReleasedError
from karma.fault_injection import reach
from karma.messages import Batch, decode
from karma.queue.celery_app import queue_of
from karma.queue.claims import RELEASED, claim_name
from karma.queue.redis import current_incarnation, say_room
from karma.telemetry import logging as logs
from karma.telemetry import metrics, tracing
from karma.worker.connections import Connections
from karma.worker.retry import retry_on_outage

if TYPE_CHECKING:  # generation and judging touch no store and are installed without its packages
    from karma.queue.outbox import Outbox
    from karma.store import Store, Transaction

    Record = Callable[[Any, Transaction], Callable[[], None]]

log = logging.getLogger(__name__)

#: Stages whose messages carry results that were paid for and are nowhere else: they count whatever became of Redis.
_RESULT_STAGES = ("score", "learn")


class Stage:
    """Runs one stage's batches in this process.

    Args:
        name: of the stage (`generate`, `score`, …).
        connections: this process's claims, and whether it is to stop.
        work: does the batch and sees to what follows; anything it raises leaves the batch to the sweeper.
    """

    def __init__(self, name: str, connections: Connections, work: Callable[[Any], None]) -> None:
        self.name = name
        self._claims = connections.claims
        self._clock = connections.clock
        self._exclusive = connections.exclusive
        self._shutdown = connections.shutdown
        self._work = work

    def run(self, text: str) -> None:
        """Do the batch in a message. Never raises: a task that fails would only be logged by Celery."""
        try:
            batch = decode(text)
        except MessageError:
            metrics.BATCHES.labels(self.name, "unreadable").inc()
            log.exception("%s: a message was dropped; what it carried stays open and is sent again", self.name)
            return
        reach(f"{self.name}.received")
        with logs.bound(self.name, batch):
            result = self._run(batch, text)
        metrics.BATCHES.labels(self.name, result).inc()

    def _run(self, batch: Batch, text: str) -> str:
        name = claim_name(self.name, batch.header.batch, batch.header.part)
        try:
            with self._exclusive.entered(batch.header.alone):
                return self._do(batch, name, text)
        except ReleasedError as cause:
            log.info("%s: batch %s is handed back: %s", self.name, batch.header.batch, cause)
            return self._release(name, RELEASED)
        except Exception as cause:
            # Whatever it was, the ledger still holds the work as open.
            log.exception("%s: batch %s failed; it will be sent again", self.name, batch.header.batch)
            return self._release(name, reason_of(cause, f"{self.name} failed"))

    def _do(self, batch: Batch, name: str, text: str) -> str:
        keep = self.name in _RESULT_STAGES
        epoch, kept = ("", text) if keep else (batch.header.epoch, "")
        taken = self._retry(lambda: self._claims.take(name, epoch, kept), "claim")
        if taken != "claimed":
            log.debug("%s: batch %s is left alone: it is %s", self.name, batch.header.batch, taken)
            return "duplicate" if taken in ("taken", "done") else taken
        reach(f"{self.name}.claimed")
        started = time.monotonic()
        waited_s = None
        if batch.header.published_at:
            waited_s = max(0.0, self._clock() - batch.header.published_at)
            metrics.WAIT_SECONDS.labels(self.name).observe(waited_s)
        with (
            tracing.processing(self.name, queue_of(batch), batch, waited_s),
            lease.held(lambda: "stop" if self._shutdown.requested else self._claims.state(name)),
        ):
            self._work(batch)
        took_s = time.monotonic() - started
        metrics.STAGE_SECONDS.labels(self.name).observe(took_s)
        log.debug("%s: batch %s of %d is done in %.3f s", self.name, batch.header.batch, len(batch.items), took_s)
        metrics.ITEMS.labels(self.name).inc(len(batch.items))
        reach(f"{self.name}.before_release")
        self._retry(lambda: self._claims.complete(name), "release")
        reach(f"{self.name}.after_release")
        return "done"

    def _retry(self, action: Callable[[], Any], what: str) -> Any:
        return retry_on_outage(action, f"{self.name}: {what}", self._shutdown)

    def _release(self, name: str, why: str) -> str:
        try:
            self._retry(lambda: self._claims.release(name, why), "let go")
        except ReleasedError:
            log.warning("%s: Redis is away; the claim on %s will fall silent by itself", self.name, name)
        return "handed_back" if why == RELEASED else "failed"


def asking(name: str, handle: Callable[[Any], Iterable[Batch]], connections: Connections) -> Stage:
    """A stage without a store: every message that the handler yields goes out at once."""

    def publish(result: Batch) -> None:
        # A worker that does not trace hands on the context that it was given.
        trace = tracing.carried() or result.header.trace
        header = replace(
            result.header, epoch=current_incarnation(connections.redis), published_at=connections.clock(), trace=trace
        )
        connections.publisher.publish([replace(result, header=header)])

    def work(batch: Batch) -> None:
        for result in handle(batch):
            tracing.calls(batch, result)
            reach(f"{name}.before_publish")
            retry_on_outage(partial(publish, result), f"{name}: publish", connections.shutdown)
            reach(f"{name}.after_publish")

    return Stage(name, connections, work)


def recording(name: str, handle: Record, store: Store, outbox: Outbox, connections: Connections) -> Stage:
    """A stage with a store: one transaction, then what it opened is sent.

    The handler returns what is to be observed once the transaction is committed: it may be run more than once.
    """

    def record(batch: Batch) -> tuple[list[str], Callable[[], None]]:
        with store.transaction() as transaction:
            observe = handle(batch, transaction)
            opened = list(transaction.work.opened)
            reach(f"{name}.before_commit")
        return opened, observe

    def work(batch: Batch) -> None:
        opened, observe = retry_on_outage(partial(record, batch), f"{name}: record", connections.shutdown)
        reach(f"{name}.after_commit")
        observe()
        try:
            outbox.send(opened)
        except OutageError as cause:
            log.warning("%s: %s; what was opened is sent once it is back", name, cause)
        if not opened:
            say_room(connections.redis)

    return Stage(name, connections, work)
