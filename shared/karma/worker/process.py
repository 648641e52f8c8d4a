"""The process of a service: metrics, heartbeat, and Celery's consumer."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from karma.config.environment import Environment
from karma.errors import OutageError
from karma.llm.openai import share_limits
from karma.messages import Batch
from karma.queue.backlog import queue_state
from karma.queue.celery_app import create_app, queue_name, task_name
from karma.queue.claims import HEARTBEAT_S, RELEASED
from karma.queue.endpoint_limits import EndpointLimits
from karma.queue.heartbeats import WorkerInfo, deregister, new_info, send_heartbeat
from karma.queue.slots import SLOTS
from karma.telemetry import logging as logs
from karma.telemetry import metrics_server, tracing
from karma.worker.connections import Connections
from karma.worker.served import Served
from karma.worker.stage import Stage, asking

log = logging.getLogger(__name__)

#: Seconds without a message, while its queues are not empty, after which a worker's consumer counts as stalled.
STALLED_S = 6.0

#: Batches of a remote model that its worker processes at once, and of all its models; `concurrency` limits the calls.
_MODEL_SLOTS = 8
_MOST_SLOTS = 64

_EXIT_STALLED = 75  # EX_TEMPFAIL: to be restarted


@dataclass(frozen=True)
class Consumer:
    """A service's queues and stages, and how many batches it processes at once: in all, and of each queue."""

    service: str
    queues: Sequence[str]
    stages: Sequence[Stage]
    threads: int = 1  # 1: in the main thread (`solo`), as a local model needs it
    slots: int | None = None  # batches of a queue at once; None: no limit
    specifications: Mapping[str, str] = field(default_factory=dict)  # queue → fingerprint of what is served


class HeartbeatThread:
    """A thread that sends this process's heartbeat and renews its claims every two seconds.

    From its start, logs and traces name the worker. The thread also ends the process when its parent is gone, when it
    does not stop in time, and when its consumer stalls.
    """

    def __init__(self, connections: Connections, info: WorkerInfo, supervisor_pid: int | None) -> None:
        # If the supervisor died while this process was starting, the parent is already init.
        self._parent = supervisor_pid or os.getppid()
        self._connections = connections
        self._redis_failed = False
        self._stalled_since: float | None = None  # when work began to wait that this process does not receive
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self.info = info

    def start(self) -> None:
        """Send the first heartbeat and start the thread.

        Raises:
            SettingsError, MissingExtraError: the environment configures traces that this process cannot send.
        """
        logs.name_process(self.info.service, self.info.id)
        tracing.start(self.info.service, self.info.id)
        send_heartbeat(self._connections.redis, self.info)
        self._thread.start()

    def stop(self) -> None:
        """Stop the heartbeats and remove this process from the list of workers."""
        self._stop.set()
        self._thread.join(timeout=5)
        try:
            deregister(self._connections.redis, self.info)
        except OutageError as cause:
            log.info("could not leave the list of workers: %s", cause)
        tracing.stop()

    def _run(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            for action in (self._connections.claims.renew, self._send, self._probe, self._end_if_stalled):
                try:
                    action()
                except OutageError as cause:
                    if not self._redis_failed:
                        log.warning("no heartbeat could be sent: %s; retrying until it works", cause)
                    self._redis_failed = True
                except Exception:
                    log.exception("the heartbeat thread failed; it retries in %s s", HEARTBEAT_S)
            if self._parent != 1 and os.getppid() != self._parent and not self._connections.shutdown.requested:
                log.warning("the process that started this worker is gone; stopping")
                os.kill(os.getpid(), signal.SIGTERM)
            if self._connections.shutdown.overdue:
                self._end_now()

    def _send(self) -> None:
        send_heartbeat(self._connections.redis, self.info)

    def _probe(self) -> None:
        """After an outage idle connections may be dead too: close them before a message needs one."""
        if self._redis_failed:
            self._connections.redis.connection_pool.disconnect(inuse_connections=False)
            self._redis_failed = False

    def _end_if_stalled(self) -> None:
        """End the process if work waits that it does not receive; a restarted process will."""
        stalled_since, self._stalled_since = self._stalled_since, None
        claims = self._connections.claims
        if not self.info.queues or not claims.idle_s:
            return
        read = [queue for queue in self.info.queues if not SLOTS.is_full(queue)]  # the others wait for a slot
        if not any(length for length, _age in queue_state(self._connections.redis, read, now=0.0).values()):
            return
        self._stalled_since = time.monotonic() if stalled_since is None else stalled_since
        stalled_s = time.monotonic() - self._stalled_since
        if min(stalled_s, claims.idle_s) > STALLED_S:
            log.error("nothing was consumed for %.0f s although work waits; ending, to be restarted", stalled_s)
            os._exit(_EXIT_STALLED)

    def _end_now(self) -> None:
        for name in self._connections.claims.names:
            try:
                self._connections.claims.release(name, RELEASED)
            except OutageError:
                log.warning("Redis is unavailable; the claim on %s will expire", name)
        log.warning("the time limit to stop is exceeded; open batches are released")
        os._exit(self._connections.shutdown.exit_code)


def run(environment: Environment, consumer: Consumer, connections: Connections) -> None:
    """Serve metrics, send heartbeats, and consume until SIGTERM."""
    from celery.signals import setup_logging, worker_ready, worker_shutting_down
    from celery.worker import state

    app = create_app(environment.broker_url())
    strategy = {"Strategy": "karma.queue.celery_app:in_line"} if consumer.threads == 1 else {}
    for stage in consumer.stages:
        app.task(stage.run, name=task_name(stage.name), ignore_result=True, **strategy)
    port = metrics_server.serve(environment.metrics_port, environment.metrics_host)
    info = new_info(consumer.service, port, tuple(consumer.queues), consumer.specifications)
    heartbeat = HeartbeatThread(connections, info, environment.supervisor_pid)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        connections.shutdown.request()
        state.should_stop = 0

    worker_shutting_down.connect(lambda **_details: connections.shutdown.request(), weak=False)  # by Ctrl-C
    # Celery's own handler of SIGTERM prints to stdout, which is the same file as the log.
    worker_ready.connect(lambda **_details: signal.signal(signal.SIGTERM, stop), weak=False)
    # A receiver of this signal keeps Celery from setting the root logger's level.
    setup_logging.connect(lambda **_details: None, weak=False)
    SLOTS.limit(consumer.slots)
    worker = app.Worker(
        hostname=f"{info.id}@{info.host}",
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
    log.info("%s is ready: queues %s, metrics on port %d", info.id, ", ".join(consumer.queues), port)
    try:
        worker.start()
    finally:
        connections.shutdown.request()
        heartbeat.stop()
        log.info("%s has stopped", info.id)
    if code := worker.exitcode or connections.shutdown.exit_code:
        sys.exit(code)


def run_asking(
    environment: Environment,
    service: str,
    stage: str,
    handle: Callable[[Any, Any], Iterable[Batch]],
    served: Served[Any],
) -> None:
    """Run a service without a store, generation or judging, until SIGTERM.

    Args:
        environment: the process's settings.
        service: its name.
        stage: its stage, `generate` or `judge`.
        handle: yields the results of a batch, which it gets with the specification of its model or judge.
        served: the models or judges to serve; each has a queue.
    """
    logs.configure_logging(environment.log_level, environment.log_format)
    connections = Connections.open(environment, served.silence_s)
    share_limits(EndpointLimits(connections.redis, secrets.token_hex(8), connections.clock).exchange)
    queues = [queue_name(stage, name) for name in served.specs]
    stages = [asking(stage, handle, served, connections)]
    slots = None if served.local else _batch_slots(served, len(queues)) or slots_of(len(queues))
    # One thread more per queue: Celery counts a batch for a moment longer than its slot is in use.
    threads = 1 if slots is None else len(queues) * (slots + 1)
    specifications = {queue_name(stage, name): fingerprint for name, fingerprint in served.fingerprints.items()}
    run(environment, Consumer(service, queues, stages, threads, slots, specifications), connections)


def slots_of(queues: int) -> int:
    """Batches of each queue that a worker of so many remote models or judges processes at once."""
    return max(1, min(_MODEL_SLOTS, _MOST_SLOTS // max(1, queues)))


def _batch_slots(served: Served[Any], queues: int) -> int:
    """Batches of each queue at once of a worker whose models all answer through jobs; 0 for any other worker."""
    specs = [getattr(spec, "model", None) if hasattr(spec, "kind") else spec for spec in served.specs.values()]
    return max(1, _MOST_SLOTS // queues) if all(getattr(spec, "batch", False) for spec in specs) else 0
