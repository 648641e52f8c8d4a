"""The process around a service: settings, logs, metrics, signs of life, and Celery's consumer."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from karma import metrics
from karma.broker import connect, create_app, task_name
from karma.claims import HEARTBEAT_S, Claims
from karma.registry import WorkerInfo, new_info, show_life, sign_off
from karma.settings import Environment
from karma.stage import Stage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Consumer:
    """What a service hands over to be run: its queues, its stages, and how many batches it does at once."""

    service: str
    queues: Sequence[str]
    stages: Mapping[str, Stage]
    threads: int = 1  # 1: in the main thread (`solo`), as a local model wants it


def configure_logging(level: str) -> None:
    """Plain lines on stderr. They name prompts and batches by id and never hold their texts."""
    logging.basicConfig(
        level=level, stream=sys.stderr, format="%(asctime)s %(levelname).1s %(name)s %(message)s", force=True
    )
    logging.getLogger("celery").setLevel(logging.WARNING)
    logging.getLogger("kombu").setLevel(logging.WARNING)


class Life:
    """Shows that this process is alive, and that its claims are, every two seconds from a thread of its own."""

    def __init__(self, redis: Any, info: WorkerInfo, claims: Claims | None = None) -> None:
        self._parent = os.getppid()
        self._redis = redis
        self.info = info
        self._claims = claims
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="life", daemon=True)

    def start(self) -> None:
        """Show the first sign now and go on."""
        show_life(self._redis, self.info)
        self._thread.start()

    def stop(self) -> None:
        """Sign off."""
        self._stop.set()
        self._thread.join(timeout=5)
        try:
            sign_off(self._redis, self.info)
        except Exception:
            log.info("could not sign off: Redis is away")

    def _run(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            try:
                show_life(self._redis, self.info)
                if self._claims is not None:
                    self._claims.beat()
            except Exception as cause:
                log.warning("no sign of life could be shown: %s", cause)
            if self._parent != 1 and os.getppid() != self._parent:
                log.warning("the process that started this worker is gone; stopping")
                os.kill(os.getpid(), signal.SIGTERM)
                return


def run(environment: Environment, consumer: Consumer, app: Any, redis: Any, claims: Claims) -> None:
    """Serve metrics, show life, and consume until SIGTERM."""
    for name, stage in consumer.stages.items():
        _register(app, name, stage.run)
    port = metrics.serve(environment.metrics_port, environment.metrics_host)
    life = Life(redis, new_info(consumer.service, port, tuple(consumer.queues)), claims)
    worker = app.Worker(
        hostname=f"{life.info.id}@{life.info.host}",
        pool="solo" if consumer.threads == 1 else "threads",
        concurrency=consumer.threads,
        queues=list(consumer.queues),
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        loglevel=logging.WARNING,
        quiet=True,
    )
    life.start()
    log.info("%s is ready: queues %s, metrics on port %d", life.info.id, ", ".join(consumer.queues), port)
    try:
        worker.start()
    finally:
        life.stop()
    if worker.exitcode:
        sys.exit(worker.exitcode)


def open_broker(environment: Environment, silence_s: float = 20.0) -> tuple[Any, Any, Claims]:
    """Celery's application, a Redis client and this process's claims."""
    url = environment.broker_url()
    redis = connect(url)
    return create_app(url), redis, Claims(redis, silence_s)


def _register(app: Any, stage: str, run_batch: Callable[[str], None]) -> None:
    app.task(run_batch, name=task_name(stage), ignore_result=True)
