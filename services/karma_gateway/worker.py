"""The gateway's process: dispatches as soon as there is something to do, sweeps, and shows the ledger's counts."""

from __future__ import annotations

import logging
import signal
import threading
import time
from types import FrameType
from typing import Any

from karma import metrics
from karma.broker import WAKE_KEY, Publisher, queue_state, say_full, wake
from karma.conveyor import Conveyor
from karma.pool import Pool
from karma.registry import forget_silent, new_info
from karma.settings import Environment
from karma.store import Store
from karma.worker import Life, configure_logging, open_broker
from karma_gateway.dispatch import Dispatcher
from karma_gateway.sweeper import Sweeper

log = logging.getLogger(__name__)

SWEEP_EVERY_S = 2.0
#: How long the gateway waits for a wake-up before it looks by itself.
_WAIT_S = 1.0
_FORGET_WORKER_S = 60.0


def main(environment: Environment) -> None:
    """Dispatch and sweep until SIGTERM."""
    configure_logging(environment.log_level)
    stop = threading.Event()

    def on_signal(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    pool = Pool.read(environment.pool_path)
    store = Store(environment.database_url)
    store.migrate()
    app, redis, _claims = open_broker(environment)
    publisher = Publisher(app)
    conveyor = Conveyor(store, pool, publisher, redis)
    dispatcher = Dispatcher(store, pool, conveyor)
    sweeper = Sweeper(store, pool, conveyor, publisher, redis)
    port = metrics.serve(environment.metrics_port, environment.metrics_host)
    life = Life(redis, new_info("gateway", port, ()))
    life.start()
    log.info("%s is ready: metrics on port %d", life.info.id, port)
    swept_at = 0.0
    try:
        while not stop.is_set():
            try:
                admitted = dispatcher.admit()
                if time.monotonic() - swept_at >= SWEEP_EVERY_S:
                    swept_at = time.monotonic()
                    if sweeper.sweep():
                        wake(redis)
                    forget_silent(redis, _FORGET_WORKER_S)
                    show_ledger(store, redis, pool)
                if dispatcher.prompts_wait:
                    say_full(redis)
                if not admitted:
                    redis.blpop([WAKE_KEY], timeout=_WAIT_S)
            except Exception:
                log.exception("the gateway could not do its round; it tries again in %s s", _WAIT_S)
                stop.wait(_WAIT_S)
    finally:
        life.stop()
        store.close()


def all_queues(pool: Pool) -> list[str]:
    """Every queue of the pipeline."""
    generate = [f"generate.{model}" for model in pool.models]
    return [*generate, "score", "match", *(f"judge.{judge}" for judge in pool.judges), "learn"]


def show_ledger(store: Store, redis: Any, pool: Pool) -> None:
    """Put the ledger's counts and the queues' state into the metrics."""
    with store.reading() as transaction:
        states = transaction.ledger.count_states()
        outcomes = transaction.preferences.count_outcomes()
        no_pair = transaction.ledger.count_no_pair()
    for state, count in states.items():
        metrics.PROMPTS.labels(state).set(count)
    for outcome, count in {**outcomes, "no_pair": no_pair}.items():
        metrics.RESOLUTIONS.labels(outcome).set(count)
    for queue, (length, age) in queue_state(redis, all_queues(pool), time.time()).items():
        metrics.QUEUE_LENGTH.labels(queue).set(length)
        metrics.QUEUE_AGE.labels(queue).set(age)
