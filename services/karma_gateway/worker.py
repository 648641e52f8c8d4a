"""The gateway's process: dispatches as soon as there is something to do, sweeps, and shows the ledger's totals."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import FrameType
from typing import Any

from karma.config.environment import Environment
from karma.config.pool import Pool
from karma.errors import OutageError
from karma.queue.heartbeats import new_info, remove_expired
from karma.queue.outbox import Outbox
from karma.queue.redis import WAKE_KEY, has_room, outages, say_full, wake
from karma.store import Store
from karma.store.instrumentation import measure
from karma.telemetry import metrics
from karma.telemetry.logging import configure_logging
from karma.worker.connections import Connections
from karma.worker.process import HeartbeatThread
from karma.worker.retry import Shutdown
from karma_gateway.dispatch import Dispatcher
from karma_gateway.sweeper import Sweeper

log = logging.getLogger(__name__)

SWEEP_EVERY_S = 2.0
#: How long the gateway waits for a wake-up before it looks by itself.
_WAIT_S = 1.0
_OUTAGE_WAIT_S = 0.5
_FORGET_WORKER_S = 60.0


#: Shows what the store and Redis hold as metrics of this process, within a block.
Exporter = Callable[[Store, Any, Pool], AbstractContextManager[object]]


def _no_exporter(_store: Store, _redis: Any, _pool: Pool) -> AbstractContextManager[object]:
    return nullcontext()


def main(environment: Environment, exporter: Exporter = _no_exporter) -> None:
    """Dispatch and sweep until SIGTERM; where the monitor is installed, its metrics are served here as well."""
    configure_logging(environment.log_level, environment.log_format)
    pool = Pool.read(environment.pool_path)
    connections = Connections.open(environment, pool.pipeline.claim_silence_s)
    redis, shutdown = connections.redis, connections.shutdown

    def on_signal(_signal: int, _frame: FrameType | None) -> None:
        shutdown.request()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    store = Store(environment.database_url, environment.durability, connections.clock)
    store.watch()
    store.migrate()
    measure(store)
    dispatching = Outbox("dispatch", store, pool, connections.publisher, redis, connections.clock)
    sweeping = Outbox("sweep", store, pool, connections.publisher, redis, connections.clock)
    dispatcher = Dispatcher(store, pool, dispatching, lambda: has_room(redis))
    sweeper = Sweeper(store, pool, sweeping, connections.publisher, redis, connections.clock)
    port = metrics.serve(environment.metrics_port, environment.metrics_host)
    heartbeat = HeartbeatThread(connections, new_info("gateway", port, ()), environment.supervisor_pid)
    heartbeat.start()
    log.info("%s is ready: metrics on port %d", heartbeat.info.id, port)

    def sweep() -> bool:
        resent = sweeper.sweep() > 0
        if resent:
            wake(redis)
        return resent

    duties = (
        Duty(sweep, SWEEP_EVERY_S, 0.05),
        Duty(lambda: remove_expired(redis, _FORGET_WORKER_S), _FORGET_WORKER_S, 0.005),
    )

    def round_() -> None:
        admitted = dispatcher.admit()
        for duty in duties:
            duty.do_if_due()
        if dispatcher.prompts_wait:
            say_full(redis)
        if not admitted:
            with outages():
                redis.blpop([WAKE_KEY], timeout=_WAIT_S)

    try:
        with exporter(store, redis, pool):
            _repeat(round_, shutdown)
    finally:
        heartbeat.stop()
        store.close()


def _repeat(round_: Callable[[], None], shutdown: Shutdown) -> None:
    """Do rounds until the process is to stop; one that fails is tried again in a moment."""
    while not shutdown.requested:
        try:
            round_()
        except OutageError as cause:
            log.warning("the gateway waits: %s", cause)
            shutdown.wait(_OUTAGE_WAIT_S)
        except Exception:
            log.exception("the gateway could not do its round; it tries again in %s s", _OUTAGE_WAIT_S)
            shutdown.wait(_OUTAGE_WAIT_S)


class Duty:
    """What is done again and again: every so many seconds, but never for more than a share of a core.

    A round that was of use (`action` returned true) is not held against it: after a loss the next look comes soon.
    """

    def __init__(self, action: Callable[[], object], every_s: float, most_share: float) -> None:
        self._action = action
        self._every_s = every_s
        self._most_share = most_share
        self._due_at = 0.0

    def do_if_due(self) -> None:
        """Do it if it is time. What takes long is done less often."""
        started = time.monotonic()
        if started < self._due_at:
            return
        self._due_at = started + self._every_s
        cpu = time.thread_time()
        was_of_use = self._action()
        rest_s = 0.0 if was_of_use else (time.thread_time() - cpu) / self._most_share
        self._due_at = time.monotonic() + max(self._every_s, rest_s)
