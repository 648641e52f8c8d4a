"""Which workers are alive: each sends a heartbeat to Redis, with its service and the port of its metrics."""

from __future__ import annotations

import os
import secrets
import socket
from typing import Any

import msgspec

from karma.queue.redis import WORKERS_KEY, outages

#: Seconds without a heartbeat after which a worker is shown as `silent`.
ALIVE_S = 10.0


class WorkerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One worker process. `id` is new with every start, so a recycled pid is not mistaken for the old process."""

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
    """Write this worker's heartbeat."""
    with outages():
        seconds, micros = redis.time()
        current = msgspec.structs.replace(info, beat=seconds + micros / 1e6)
        redis.hset(WORKERS_KEY, info.id, msgspec.json.encode(current))


def deregister(redis: Any, info: WorkerInfo) -> None:
    """Remove this worker from the list of workers."""
    with outages():
        redis.hdel(WORKERS_KEY, info.id)


def workers(redis: Any) -> list[WorkerInfo]:
    """All workers by service and id; those whose heartbeat expired have the state `silent`."""
    with outages():
        seconds, micros = redis.time()
        encoded = redis.hvals(WORKERS_KEY)
    now = seconds + micros / 1e6
    infos = [msgspec.json.decode(raw, type=WorkerInfo) for raw in encoded]
    infos = [info if now - info.beat < ALIVE_S else msgspec.structs.replace(info, state="silent") for info in infos]
    return sorted(infos, key=lambda info: (info.service, info.id))


def remove_expired(redis: Any, after_s: float) -> None:
    """Remove workers that sent no heartbeat for `after_s` seconds."""
    with outages():
        seconds, micros = redis.time()
        for info in workers(redis):
            if seconds + micros / 1e6 - info.beat > after_s:
                redis.hdel(WORKERS_KEY, info.id)
