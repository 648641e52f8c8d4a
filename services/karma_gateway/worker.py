"""The gateway's process: migrates the store, dispatches prompts, and sweeps."""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from karma.config.environment import Environment
from karma.config.pool import Pool
from karma.errors import OutageError
from karma.queue.celery_app import queue_name
from karma.queue.endpoint_limits import closed_to_work, endpoints, read_limits
from karma.queue.heartbeats import new_info, remove_expired
from karma.queue.outbox import Outbox
from karma.queue.redis import WAKE_KEY, current_incarnation, has_room, mark_full, outages, wake
from karma.store import Store
from karma.store.instrumentation import measure
from karma.telemetry import metrics_server
from karma.telemetry.logging import configure_logging
from karma.worker.connections import Connections
from karma.worker.process import HeartbeatThread
from karma.worker.retry import Shutdown
from karma.worker.schema import end_on_migration
from karma_gateway.dispatch import Dispatcher
from karma_gateway.rest import Rest
from karma_gateway.sweeper import Sweeper

log = logging.getLogger(__name__)

SWEEP_EVERY_S = 2.0
#: Seconds that the gateway waits for a wake-up before it polls for work.
_WAIT_S = 1.0
_OUTAGE_WAIT_S = 0.5
_FORGET_WORKER_S = 60.0


#: A context in which metrics of the store and Redis are served.
Exporter = Callable[[Store, Any, Pool], AbstractContextManager[object]]


def main(environment: Environment, exporter: Exporter = lambda *_parts: nullcontext()) -> None:
    """Dispatch and sweep until SIGTERM; `exporter` serves the monitor's metrics if the monitor is installed."""
    configure_logging(environment.log_level, environment.log_format)
    pool = Pool.read(environment.pool_path)
    connections = Connections.open(environment, pool.pipeline.claim_silence_s)
    redis, shutdown = connections.redis, connections.shutdown

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _signal, _frame: shutdown.request())
    store = Store(environment.database, environment.durability, connections.clock, service="gateway")
    store.migrate()
    end_on_migration(store, shutdown)
    measure(store)
    incarnation = partial(current_incarnation, redis)  # asked for each time: the sweeper compares what was sent by it
    dispatching = Outbox("dispatch", store, pool, connections.publisher, incarnation, connections.clock)
    sweeping = Outbox("sweep", store, pool, connections.publisher, incarnation, connections.clock)
    called, clock = endpoints([*pool.models.values(), *pool.judges.values()]), connections.clock
    dispatcher = Dispatcher(
        store, pool, dispatching, lambda: has_room(redis), lambda: closed_to_work(read_limits(redis, called, clock()))
    )
    sweeper = Sweeper(store, pool, sweeping, connections.publisher, redis, connections.clock)
    port = metrics_server.serve(environment.metrics_port, environment.metrics_host)
    heartbeat = HeartbeatThread(connections, new_info("gateway", port, (), _asked(pool)), environment.supervisor_pid)
    heartbeat.start()
    log.info("%s is ready: metrics on port %d", heartbeat.info.id, port)

    def sweep() -> bool:
        resent = sweeper.sweep() > 0
        if resent:
            wake(redis)
        return resent

    tasks = (
        PeriodicTask(sweep, SWEEP_EVERY_S, 0.05),
        PeriodicTask(lambda: remove_expired(redis, _FORGET_WORKER_S), _FORGET_WORKER_S, 0.005),
    )

    rest = Rest(min(pool.pipeline.window, pool.pipeline.model_limit))

    def round_() -> None:
        admitted = dispatcher.admit()
        for task in tasks:
            task.run_if_due()
        rest.count(admitted)
        if admitted >= pool.pipeline.plan_prompts:
            return  # there may be room for more
        if dispatcher.prompts_wait:
            mark_full(redis)
            shutdown.wait(rest.seconds)
        if not admitted:
            with outages():
                redis.blpop([WAKE_KEY], timeout=_WAIT_S)

    try:
        with exporter(store, redis, pool):
            _repeat(round_, shutdown)
    finally:
        heartbeat.stop()
        store.close()
    if shutdown.exit_code:
        sys.exit(shutdown.exit_code)


def _asked(pool: Pool) -> dict[str, str]:
    """Queue → fingerprint of the settings that this gateway asks for."""
    models = {queue_name("generate", name): fingerprint for name, fingerprint in pool.model_fingerprints.items()}
    return models | {queue_name("judge", name): fingerprint for name, fingerprint in pool.judge_fingerprints.items()}


def _repeat(round_: Callable[[], None], shutdown: Shutdown) -> None:
    """Run rounds until shutdown is requested; a failed round is retried after a moment. An outage is logged once."""
    outage = ""
    while not shutdown.requested:
        try:
            round_()
            outage = ""
        except OutageError as cause:
            if str(cause) != outage:
                log.warning("the gateway waits: %s", cause)
            outage = str(cause)
            shutdown.wait(_OUTAGE_WAIT_S)
        except Exception:
            log.exception("a round of the gateway failed; it is retried in %s s", _OUTAGE_WAIT_S)
            shutdown.wait(_OUTAGE_WAIT_S)


class PeriodicTask:
    """An action that runs every `every_s` seconds and uses at most `max_share` of a CPU core.

    A run that found work (`action` returned true) is not limited, because more work may follow a loss.
    """

    def __init__(self, action: Callable[[], object], every_s: float, max_share: float) -> None:
        self._action = action
        self._every_s = every_s
        self._max_share = max_share
        self._due_at = 0.0

    def run_if_due(self) -> None:
        """Run the action if it is due. A slow action runs less often."""
        started = time.monotonic()
        if started < self._due_at:
            return
        self._due_at = started + self._every_s
        cpu = time.thread_time()
        found_work = self._action()
        rest_s = 0.0 if found_work else (time.thread_time() - cpu) / self._max_share
        self._due_at = time.monotonic() + max(self._every_s, rest_s)
