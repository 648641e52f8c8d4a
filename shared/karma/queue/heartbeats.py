"""Which workers are alive: each shows a sign of life in Redis, with what it is and where its metrics are."""

from __future__ import annotations

import os
import secrets
import socket
from typing import Any

import msgspec

from karma.queue.redis import WORKERS_KEY, outages

#: A worker that showed no sign of life for this long is taken for dead.
ALIVE_S = 10.0


class WorkerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One worker process. `id` is fresh with every start, so a recycled pid is never taken for another."""

    id: str
    service: str
    host: str
    pid: int
    metrics_port: int
    queues: tuple[str, ...] = ()
    state: str = "ready"
    beat: float = 0.0  # Redis' clock


def new_info(service: str, metrics_port: int, queues: tuple[str, ...]) -> WorkerInfo:
    """This process as a worker."""
    return WorkerInfo(
        id=f"{service}-{secrets.token_hex(4)}",
        service=service,
        host=socket.gethostname(),
        pid=os.getpid(),
        metrics_port=metrics_port,
        queues=queues,
    )


def send_heartbeat(redis: Any, info: WorkerInfo) -> None:
    """Write this worker's sign of life."""
    with outages():
        seconds, micros = redis.time()
        alive = msgspec.structs.replace(info, beat=seconds + micros / 1e6)
        redis.hset(WORKERS_KEY, info.id, msgspec.json.encode(alive))


def deregister(redis: Any, info: WorkerInfo) -> None:
    """Leave the list of workers."""
    with outages():
        redis.hdel(WORKERS_KEY, info.id)


def workers(redis: Any) -> list[WorkerInfo]:
    """All workers, those silent for too long with the state `silent`, by service and id."""
    with outages():
        seconds, micros = redis.time()
        known = redis.hvals(WORKERS_KEY)
    now = seconds + micros / 1e6
    found = []
    for raw in known:
        info = msgspec.json.decode(raw, type=WorkerInfo)
        found.append(info if now - info.beat < ALIVE_S else msgspec.structs.replace(info, state="silent"))
    return sorted(found, key=lambda info: (info.service, info.id))


def remove_expired(redis: Any, after_s: float) -> None:
    """Remove workers that have been silent for long."""
    with outages():
        seconds, micros = redis.time()
        for info in workers(redis):
            if seconds + micros / 1e6 - info.beat > after_s:
                redis.hdel(WORKERS_KEY, info.id)
