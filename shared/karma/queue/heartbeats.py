"""Heartbeats of workers in Redis, with their service and metrics port."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from karma.batches.open_jobs import OpenJobs, noted
from karma.queue.redis import WORKERS_KEY, outages, server_time
from karma.telemetry import metrics

#: Seconds without a heartbeat after which a worker is shown as `silent`.
ALIVE_S = 10.0


_Word = Annotated[str, Meta(max_length=100)]
_Queue = Annotated[str, Meta(max_length=200)]


class WorkerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One worker process. Every start has a new `id`, so that a reused pid is another worker."""

    id: _Word
    service: _Word
    host: Annotated[str, Meta(max_length=300)]
    pid: Annotated[int, Meta(ge=0, lt=2**31)]
    metrics_port: Annotated[int, Meta(ge=0, lt=2**16)]
    queues: Annotated[tuple[_Queue, ...], Meta(max_length=1000)] = ()
    state: _Word = "ready"
    # queue of a model or judge → fingerprint of its settings, as this process asks for it (gateway) or serves it
    specifications: Annotated[dict[_Queue, _Word], Meta(max_length=2000)] = {}
    batch_jobs: Annotated[tuple[OpenJobs, ...], Meta(max_length=1000)] = ()
    beat: float = 0.0  # Redis' clock


def new_info(
    service: str, metrics_port: int, queues: tuple[str, ...], specifications: Mapping[str, str] | None = None
) -> WorkerInfo:
    """The entry of this process."""
    return WorkerInfo(
        id=f"{service}-{secrets.token_hex(4)}",
        service=service,
        host=socket.gethostname(),
        pid=os.getpid(),
        metrics_port=metrics_port,
        queues=queues,
        specifications=dict(specifications or {}),
    )


def send_heartbeat(redis: Any, info: WorkerInfo) -> None:
    """Write this worker's heartbeat."""
    with outages():
        current = msgspec.structs.replace(info, beat=server_time(redis), batch_jobs=noted()[:1000])
        redis.hset(WORKERS_KEY, info.id, msgspec.json.encode(current))


def deregister(redis: Any, info: WorkerInfo) -> None:
    """Remove this worker from the list of workers."""
    with outages():
        redis.hdel(WORKERS_KEY, info.id)


def workers(redis: Any) -> list[WorkerInfo]:
    """All workers by service and id; those whose heartbeat expired have the state `silent`."""
    with outages():
        now, encoded = server_time(redis), redis.hvals(WORKERS_KEY)
    infos = [info for raw in encoded if (info := _read(raw)) is not None]
    infos = [info if now - info.beat < ALIVE_S else msgspec.structs.replace(info, state="silent") for info in infos]
    return sorted(infos, key=lambda info: (info.service, info.id))


def remove_expired(redis: Any, after_s: float) -> None:
    """Remove workers that sent no heartbeat for `after_s` seconds, and what is no worker's entry."""
    with outages():
        now, entries = server_time(redis), redis.hgetall(WORKERS_KEY)
        for key, raw in entries.items():
            info = _read(raw)
            if info is None:
                metrics.REFUSED.labels("workers", "form").inc()
                redis.hdel(WORKERS_KEY, key)
            elif not -after_s <= now - info.beat <= after_s:
                redis.hdel(WORKERS_KEY, key)


def _read(raw: bytes) -> WorkerInfo | None:
    """A worker's entry; None if KARMA did not write it."""
    try:
        return msgspec.json.decode(raw, type=WorkerInfo)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
