"""The process around a service: settings, logs, metrics, signs of heartbeat, and Celery's consumer."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

from karma.config.environment import Environment
from karma.errors import OutageError
from karma.queue.backlog import any_waits
from karma.queue.celery_app import task_name
from karma.queue.claims import HEARTBEAT_S, RELEASED
from karma.queue.heartbeats import WorkerInfo, deregister, new_info, send_heartbeat
from karma.telemetry import logging as logs
from karma.telemetry import metrics, tracing
from karma.worker.connections import Connections
from karma.worker.stage import Stage

log = logging.getLogger(__name__)

#: A worker that is given nothing for this long while its queues are not empty has lost its consumer.
STALLED_S = 6.0

_EXIT_STALLED = 75  # EX_TEMPFAIL: start me again


@dataclass(frozen=True)
class Consumer:
    """What a service hands over to be run: its queues, its stages, and how many batches it does at once."""

    service: str
    queues: Sequence[str]
    stages: Sequence[Stage]
    threads: int = 1  # 1: in the main thread (`solo`), as a local model wants it


class HeartbeatThread:
    """Shows that this process is alive, and that its claims are, every two seconds from a thread of its own.

    From its start logs and traces name the worker.

    It also ends the process where nothing else would: when the process that started it is gone, when it was told to
    stop and does not, and when its consumer hangs.
    """

    def __init__(self, connections: Connections, info: WorkerInfo, supervisor_pid: int | None) -> None:
        # A supervisor that died while this process was starting is no longer its parent, and init is.
        self._parent = supervisor_pid or os.getppid()
        self._link = connections
        self._redis_was_away = False
        self._waits_since: float | None = None  # since when work waits that this process is not given
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self.info = info

    def start(self) -> None:
        """Show the first sign now and go on.

        Raises:
            SettingsError, MissingExtraError: the environment asks for traces that this process cannot send.
        """
        logs.name_process(self.info.service, self.info.id)
        tracing.start(self.info.service, self.info.id)
        send_heartbeat(self._link.redis, self.info)
        self._thread.start()

    def stop(self) -> None:
        """Sign off."""
        self._stop.set()
        self._thread.join(timeout=5)
        try:
            deregister(self._link.redis, self.info)
        except OutageError as cause:
            log.info("could not sign off: %s", cause)
        tracing.stop()

    def _run(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            for duty in (self._link.claims.beat, self._show, self._probe, self._end_if_stalled):
                try:
                    duty()
                except OutageError as cause:
                    self._redis_was_away = True
                    log.warning("no sign of heartbeat could be shown: %s", cause)
                except Exception:
                    log.exception("a duty of this worker failed; it is tried again in %s s", HEARTBEAT_S)
            if self._parent != 1 and os.getppid() != self._parent and not self._link.shutdown.requested:
                log.warning("the process that started this worker is gone; stopping")
                os.kill(os.getpid(), signal.SIGTERM)
            if self._link.shutdown.overdue:
                self._end_now()

    def _show(self) -> None:
        send_heartbeat(self._link.redis, self.info)

    def _probe(self) -> None:
        """After an outage the publisher's connection may be dead as well: find out before a message waits for it."""
        if self._redis_was_away:
            self._link.publisher.probe()
            self._redis_was_away = False

    def _end_if_stalled(self) -> None:
        """End where work waits and waits and none of it is given to this process: a fresh one will be."""
        waits_since, self._waits_since = self._waits_since, None
        if not self.info.queues or not self._link.claims.idle_s or not any_waits(self._link.redis, self.info.queues):
            return
        self._waits_since = time.monotonic() if waits_since is None else waits_since
        waited_s = time.monotonic() - self._waits_since
        if min(waited_s, self._link.claims.idle_s) > STALLED_S:
            log.error("nothing was consumed for %.0f s although work waits; ending, to be started again", waited_s)
            os._exit(_EXIT_STALLED)

    def _end_now(self) -> None:
        for name in self._link.claims.names:
            try:
                self._link.claims.release(name, RELEASED)
            except OutageError:
                log.warning("Redis is away; the claim on %s will fall silent by itself", name)
        log.warning("the time to finish is over; what was in hand is handed back")
        os._exit(0)


def run(environment: Environment, consumer: Consumer, connections: Connections) -> None:
    """Serve metrics, show heartbeat, and consume until SIGTERM."""
    from celery.signals import setup_logging, worker_ready, worker_shutting_down
    from celery.worker import state

    for stage in consumer.stages:
        connections.app.task(stage.run, name=task_name(stage.name), ignore_result=True)
    port = metrics.serve(environment.metrics_port, environment.metrics_host)
    heartbeat = HeartbeatThread(
        connections, new_info(consumer.service, port, tuple(consumer.queues)), environment.supervisor_pid
    )

    def told(**_details: Any) -> None:
        connections.shutdown.request()

    def logs_are_set_up(**_details: Any) -> None:
        """Whoever answers this signal keeps Celery from setting the root logger's level to its own."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        connections.shutdown.request()
        state.should_stop = 0

    def on_ready(**_details: Any) -> None:
        """Celery's own handler of this signal says so on stdout, which is the same file as the log."""
        signal.signal(signal.SIGTERM, stop)

    worker_shutting_down.connect(told, weak=False)  # by Ctrl-C
    worker_ready.connect(on_ready, weak=False)
    setup_logging.connect(logs_are_set_up, weak=False)
    worker = connections.app.Worker(
        hostname=f"{heartbeat.info.id}@{heartbeat.info.host}",
        pool="solo" if consumer.threads == 1 else "threads",
        concurrency=consumer.threads,
        queues=list(consumer.queues),
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        loglevel=logging.WARNING,
        quiet=True,
    )
    heartbeat.start()
    log.info("%s is ready: queues %s, metrics on port %d", heartbeat.info.id, ", ".join(consumer.queues), port)
    try:
        worker.start()
    finally:
        connections.shutdown.request()
        heartbeat.stop()
        log.info("%s has stopped", heartbeat.info.id)
    if worker.exitcode:
        sys.exit(worker.exitcode)
