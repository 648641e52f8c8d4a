"""This machine and its servers: Redis, the store, the disk, and the heartbeats of workers."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from karma.config.environment import Environment
from karma.errors import BrokerError, KarmaError, NewerSchemaError
from karma.queue.heartbeats import workers
from karma.queue.redis import connect, has_room, outages, server_time
from karma.store import Store, location
from karma.store.revision import mismatch
from karma_cli.commands.doctor.findings import Finding, finding
from karma_cli.local.redis_server import server_program
from karma_monitor.conflicts import conflicts, described

_FULL_BYTES, _LOW_BYTES = 100 << 20, 1 << 30
_SKEW_S = 2.0


@dataclass(frozen=True)
class Part:
    """A part of this machine: one sentence about it, and what is wrong with it."""

    name: str
    said: str
    findings: tuple[Finding, ...] = ()

    def data(self) -> dict[str, Any]:
        """As JSON data."""
        return {"name": self.name, "said": self.said, "findings": [one.code for one in self.findings]}


def machine_parts(env: Environment) -> list[Part]:
    """Redis, the workers, the store and the disk of an environment."""
    redis, client = _redis(env)
    return [redis, _workers(client), _store(env), _disk(env.home)]


def _redis(env: Environment) -> tuple[Part, Any | None]:
    running = (env.home / "run" / "redis.url").exists()
    if not env.redis_url and not running:
        try:
            program = server_program()
        except KarmaError as cause:
            return Part("redis", "none runs", (_machine("redis-program", "redis", str(cause)),)), None
        return Part("redis", f"none runs; karma up starts {program.name}"), None
    try:
        client = connect(env.broker_url())
        with outages():
            eviction = client.info("memory").get("maxmemory_policy", "noeviction")
            version = client.info("server").get("redis_version", "unknown")
            skew_s = server_time(client) - time.time()
            room = has_room(client)
    except BrokerError as cause:
        if running and not env.redis_url:  # of a `karma up` that was killed: the next one starts it anew
            return Part("redis", "none runs; karma up starts it"), None
        return Part("redis", "does not answer", (_machine("redis", "redis", str(cause)),)), None
    found = []
    if eviction != "noeviction":
        found.append(_machine("redis-eviction", "redis", f"maxmemory-policy is {eviction}"))
    if not room:
        found.append(_machine("redis-full", "redis", "more than 70 % of maxmemory is used"))
    if abs(skew_s) > _SKEW_S:
        found.append(_machine("clock", "redis", f"this machine's clock is {-skew_s:+.1f} s from Redis' own"))
    if env.redis_url and not env.keyring().signs:
        found.append(_machine("unsigned", "redis", "KARMA_REDIS_URL is set, and there is no signing key"))
    return Part("redis", f"answers (version {version})", tuple(found)), client


def _workers(redis: Any | None) -> Part:
    if redis is None:
        return Part("workers", "none runs; karma up starts them")
    try:
        all_workers = workers(redis)
    except BrokerError as cause:
        return Part("workers", "unknown", (_machine("redis", "workers", str(cause)),))
    silent = [worker for worker in all_workers if worker.state == "silent"]
    ready = len(all_workers) - len(silent)
    found = tuple(
        _machine(
            "worker-silent", "workers", f"the last heartbeat of the {one.service} worker {one.id} on {one.host} is old"
        )
        for one in silent
    )
    found += tuple(_machine("worker-settings", "workers", line) for line in described(conflicts(all_workers)))
    return Part("workers", f"{ready} ready, {len(silent)} without a heartbeat" if all_workers else "none runs", found)


def _store(env: Environment) -> Part:
    try:
        file = location.sqlite_file(location.parse(env.database))
        if file is not None and location.is_missing(file):
            return _missing_store(file)
        read_only = file is not None and not location.is_writable(file)
        with closing(Store(env.database, read_only=read_only)) as store:
            revision, shown = store.revision(), store.shown_url
    except KarmaError as cause:
        return Part("store", "cannot be read", (_machine("store", "store", str(cause)),))
    wrong = mismatch(revision, shown)
    found = []
    if isinstance(wrong, NewerSchemaError):
        found.append(_machine("store-newer", "store", str(wrong)))
    elif wrong is not None and revision is not None:
        found.append(_machine("store-older", "store", str(wrong)))
    if read_only:
        found.append(_machine("store-read-only", "store", f"this user may not write {file}"))
    return Part("store", f"{shown}, revision {revision or 'none yet'}", tuple(found))


def _missing_store(file: Path) -> Part:
    folder = _existing(file.parent)
    if os.access(folder, os.W_OK | os.X_OK):
        return Part("store", f"none yet; the first command that writes makes {file}")
    found = _machine("store-read-only", "store", f"this user may not write {folder}")
    return Part("store", "cannot be made", (found,))


def _disk(home: Path) -> Part:
    free = shutil.disk_usage(_existing(home)).free
    said = f"{free / (1 << 30):,.1f} GB free at {home}"
    if free < _FULL_BYTES:
        return Part("disk", said, (_machine("disk-full", "disk", f"{free >> 20} MB are free at {home}"),))
    if free < _LOW_BYTES:
        return Part("disk", said, (_machine("disk-low", "disk", f"{free >> 20} MB are free at {home}"),))
    return Part("disk", said)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _machine(code: str, name: str, read: str) -> Finding:
    return finding(code, "machine", name, read)
