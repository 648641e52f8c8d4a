"""The gateway's process: dispatches as soon as there is something to do, sweeps, and shows the ledger's totals."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from types import FrameType

from karma import metrics
from karma.broker import WAKE_KEY, has_room, outages, say_full, wake
from karma.conveyor import Conveyor
from karma.errors import OutageError
from karma.link import Link
from karma.logs import configure_logging
from karma.pool import Pool
from karma.registry import forget_silent, new_info
from karma.settings import Environment
from karma.store import Store
from karma.store.meter import measure
from karma.worker import Life
from karma_gateway.dispatch import Dispatcher
from karma_gateway.ledger_metrics import LedgerMetrics
from karma_gateway.sweeper import Sweeper

log = logging.getLogger(__name__)

SWEEP_EVERY_S = 2.0
#: How long the gateway waits for a wake-up before it looks by itself.
_WAIT_S = 1.0
_OUTAGE_WAIT_S = 0.5
_FORGET_WORKER_S = 60.0


def main(environment: Environment) -> None:
    """Dispatch and sweep until SIGTERM."""
    configure_logging(environment.log_level, environment.log_format)
    pool = Pool.read(environment.pool_path)
    link = Link.open(environment, pool.pipeline.claim_silence_s)
    redis, stopping = link.redis, link.stopping

    def on_signal(_signal: int, _frame: FrameType | None) -> None:
        stopping.tell()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    store = Store(environment.database_url, environment.durability, link.clock)
    store.watch()
    store.migrate()
    measure(store)
    dispatching = Conveyor("dispatch", store, pool, link.publisher, redis, link.clock)
    sweeping = Conveyor("sweep", store, pool, link.publisher, redis, link.clock)
    dispatcher = Dispatcher(store, pool, dispatching, lambda: has_room(redis))
    sweeper = Sweeper(store, pool, sweeping, link.publisher, redis, link.clock)
    port = metrics.serve(environment.metrics_port, environment.metrics_host)
    ledger = LedgerMetrics(store, redis, pool, all_queues(pool))
    life = Life(link, new_info("gateway", port, ()), environment.supervisor_pid)
    life.start()
    ledger.start()
    log.info("%s is ready: metrics on port %d", life.info.id, port)

    def sweep() -> bool:
        resent = sweeper.sweep() > 0
        if resent:
            wake(redis)
        return resent

    duties = (
        Duty(sweep, SWEEP_EVERY_S, 0.05),
        Duty(lambda: forget_silent(redis, _FORGET_WORKER_S), _FORGET_WORKER_S, 0.005),
    )
    try:
        while not stopping.told:
            try:
                admitted = dispatcher.admit()
                for duty in duties:
                    duty.do_if_due()
                if dispatcher.prompts_wait:
                    say_full(redis)
                if not admitted:
                    with outages():
                        redis.blpop([WAKE_KEY], timeout=_WAIT_S)
            except OutageError as cause:
                log.warning("the gateway waits: %s", cause)
                stopping.wait(_OUTAGE_WAIT_S)
            except Exception:
                log.exception("the gateway could not do its round; it tries again in %s s", _OUTAGE_WAIT_S)
                stopping.wait(_OUTAGE_WAIT_S)
    finally:
        ledger.stop()
        life.stop()
        store.close()


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


def all_queues(pool: Pool) -> list[str]:
    """Every queue of the pipeline."""
    generate = [f"generate.{model}" for model in pool.models]
    return [*generate, "score", "match", *(f"judge.{judge}" for judge in pool.judges), "learn"]
