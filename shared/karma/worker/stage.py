"""How every worker processes a batch: claim → handle → record in one transaction → publish → release.

The protection against lost batches is here, so that a service only needs a handler. There are two kinds of stages: an
*asking* stage (generation, judging) has no store and publishes results as they arrive; a *recording* stage (scoring,
matching) writes its rows and the change of state in one transaction and publishes after the commit.

A worker keeps its batch while Redis or the store is unavailable. A batch that fails is released with the error, and the
sweeper resends its open items.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from karma import lease
from karma.errors import OutageError, RefusedError, ReleasedError
from karma.messages import Batch
from karma.messages.lanes import is_express
from karma.messages.results import reason_of
from karma.messages.signing import LEDGER, channel
from karma.queue.celery_app import queue_name, queue_of, target_of
from karma.queue.claims import OTHER_SPECIFICATION, RELEASED, RESULT_STAGES, claim_name
from karma.queue.fault_injection import reach
from karma.queue.refused import refuse
from karma.queue.slots import SLOTS
from karma.queue.spent import ASKING_STAGES
from karma.telemetry import logging as logs
from karma.telemetry import metrics, tracing
from karma.worker.admission import Admitted, Memory, admit
from karma.worker.connections import Connections
from karma.worker.retry import retry_on_outage
from karma.worker.served import OtherSpecificationError, Served

if TYPE_CHECKING:  # generation and judging touch no store and are installed without its packages
    from karma.queue.outbox import Outbox
    from karma.store import Store, Transaction

    Record = Callable[[Any, Transaction, str], Callable[[], None]]

log = logging.getLogger(__name__)


class Stage:
    """Processes one stage's batches in this process.

    Args:
        name: of the stage (`generate`, `score`, …).
        connections: this process's claims and shutdown request.
        work: processes the batch and publishes its results, and returns whether prompts may have ended, which makes
            room for others; if it raises, the batch is left to the sweeper.
    """

    def __init__(self, name: str, connections: Connections, work: Callable[[Admitted], bool]) -> None:
        self.name = name
        self._connections = connections
        self._work = work
        self._memory = Memory()

    def run(self, text: str, queue: str = "") -> None:
        """Process the batch in a message, in a slot of its queue. Never raises: Celery would only log it."""
        SLOTS.start(queue)
        try:
            self._admit_and_run(text)
        finally:
            SLOTS.end(queue)

    def _admit_and_run(self, text: str) -> None:
        try:
            admitted = admit(self.name, text, self._connections.publisher.keyring)
        except RefusedError as cause:
            self._refuse(text, cause)
            return
        reach(f"{self.name}.received")
        with logs.bound(self.name, admitted.batch):
            result = self._run(admitted, text)
        metrics.BATCHES.labels(self.name, result).inc()

    def _run(self, admitted: Admitted, text: str) -> str:
        batch: Batch = admitted.batch
        name = claim_name(self.name, batch.header.batch, batch.header.part)
        try:
            with self._connections.exclusive.entered(batch.header.alone):
                return self._process(admitted, name, text)
        except OtherSpecificationError as cause:
            metrics.REFUSED.labels(self.name, "specification").inc()
            log.warning("%s: batch %s is given back: %s", self.name, batch.header.batch, cause)
            return self._release(name, OTHER_SPECIFICATION)
        except ReleasedError as cause:
            log.info("%s: batch %s is released: %s", self.name, batch.header.batch, cause)
            return self._release(name, RELEASED)
        except Exception as cause:
            # The work is still open in the ledger.
            log.exception("%s: batch %s failed; it will be resent", self.name, batch.header.batch)
            return self._release(name, reason_of(cause, f"{self.name} failed"))

    def _process(self, admitted: Admitted, name: str, text: str) -> str:
        batch: Batch = admitted.batch
        claims, shutdown = self._connections.claims, self._connections.shutdown
        incarnation, kept = ("", text) if self.name in RESULT_STAGES else (batch.header.epoch, "")
        # What a worker says about its claim is signed for the queue that it reads.
        says = channel(self.name, target_of(batch)) if target_of(batch) else LEDGER
        if name in self._memory:
            return "duplicate"
        claim = self._retry(lambda: claims.acquire(name, incarnation, kept, says), "claim")
        if claim != "claimed":
            log.debug("%s: batch %s is skipped: it is %s", self.name, batch.header.batch, claim)
            return "void" if claim == "void" else "duplicate"
        self._memory.add(name)
        reach(f"{self.name}.claimed")
        started = time.monotonic()
        waited_s = None
        if batch.header.published_at:
            waited_s = max(0.0, self._connections.clock() - batch.header.published_at)
            metrics.WAIT_SECONDS.labels(self.name).observe(waited_s)
        with (
            tracing.processing(self.name, queue_of(batch), batch, waited_s),
            lease.held(lambda: "stop" if shutdown.requested else self._state(name, batch.header.stream)),
        ):
            made_room = self._work(admitted)
        took_s = time.monotonic() - started
        metrics.STAGE_SECONDS.labels(self.name).observe(took_s)
        log.debug("%s: batch %s of %d is done in %.3f s", self.name, batch.header.batch, len(batch.items), took_s)
        metrics.ITEMS.labels(self.name).inc(len(batch.items))
        reach(f"{self.name}.before_release")
        self._retry(lambda: claims.complete(name, made_room), "release")
        reach(f"{self.name}.after_release")
        return "done"

    def _state(self, name: str, stream: str) -> lease.LeaseState:
        """Whether calls may begin: none for a stream whose budget is spent."""
        state = self._connections.claims.state(name)
        if state != "go" or self.name not in ASKING_STAGES:
            return state
        return self._connections.spent.lease(stream)

    def _retry(self, action: Callable[[], Any], what: str) -> Any:
        return retry_on_outage(action, f"{self.name}: {what}", self._connections.shutdown)

    def _release(self, name: str, why: str) -> str:
        try:
            self._retry(lambda: self._connections.claims.release(name, why), "release")
        except ReleasedError:
            log.warning("%s: Redis is unavailable; the claim on %s will expire", self.name, name)
        return "handed_back" if why in (RELEASED, OTHER_SPECIFICATION) else "failed"

    def _refuse(self, text: str, cause: RefusedError) -> None:
        """Count and keep a refused message. Work that it carried, if any, is open in the ledger and is resent."""
        metrics.BATCHES.labels(self.name, "refused").inc()
        try:
            refuse(self._connections.redis, queue_name(self.name, ""), cause, text)
        except OutageError as outage:
            log.warning("%s: a refused message cannot be kept for inspection: %s", self.name, outage)


def asking(
    name: str, handle: Callable[[Any, Any], Iterable[Batch]], served: Served[Any], connections: Connections
) -> Stage:
    """A stage without a store: every message that the handler yields is published at once.

    The handler gets the batch and the specification of its model or judge from this worker's own pool file.
    """

    def publish(result: Batch, sender: str) -> None:
        # A worker that does not trace passes on the context that it received.
        trace = tracing.carried() or result.header.trace
        header = replace(result.header, epoch=connections.incarnation(), published_at=connections.clock(), trace=trace)
        connections.publisher.publish([replace(result, header=header)], sender)

    def work(admitted: Admitted) -> bool:
        batch = admitted.batch
        spec = served.asked(batch)
        lease.require()  # a part that makes calls without asking for the lease begins none for a spent stream
        for result in handle(batch, spec):
            tracing.calls(spec, result)
            reach(f"{name}.before_publish")
            retry_on_outage(partial(publish, result, target_of(batch)), f"{name}: publish", connections.shutdown)
            reach(f"{name}.after_publish")
        return False

    return Stage(name, connections, work)


def recording(name: str, handle: Record, store: Store, outbox: Outbox, connections: Connections) -> Stage:
    """A stage with a store: one transaction, then the batches that it opened are published.

    The handler gets the batch, the transaction, and the model or judge whose results they are, if their worker signed
    them. It may run more than once; it returns a function that is called once, after the commit. What it opens travels
    in the lane of the batch.
    """

    def record(admitted: Admitted) -> tuple[list[str], Callable[[], None]]:
        with store.transaction() as transaction:
            transaction.work.express = is_express(admitted.batch.header.batch)
            observe = handle(admitted.batch, transaction, admitted.sender)
            opened = list(transaction.work.opened)
            reach(f"{name}.before_commit")
        return opened, observe

    def work(admitted: Admitted) -> bool:
        opened, observe = retry_on_outage(partial(record, admitted), f"{name}: record", connections.shutdown)
        reach(f"{name}.after_commit")
        observe()
        try:
            outbox.send(opened)
        except OutageError as cause:
            log.warning("%s: %s; the batches that were opened are published when it recovers", name, cause)
        return not opened or name == "learn"  # which ends prompts while it opens second orders of others

    return Stage(name, connections, work)
