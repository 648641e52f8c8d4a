"""What can go wrong in the chaos run, and how to do it."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from karma.queue.heartbeats import workers
from tests.support.pipeline import Pipeline, wait_until
from tests.support.postgresql import PostgreSQL
from tests.support.proxy import Proxy
from tests.support.redis_server import Redis

SERVICES = ("gateway", "generation", "scoring", "matching", "judging")


@dataclass
class Fault:
    """One fault as it was done; times are seconds since 1970."""

    kind: str
    began_at: float
    ended_at: float = 0.0

    @property
    def destroys_redis(self) -> bool:
        return self.kind in ("redis_emptied", "redis_killed_without_file")


@dataclass(frozen=True)
class World:
    """Everything that may be hurt."""

    karma: Pipeline
    redis: Redis
    to_redis: Proxy
    to_endpoint: Proxy
    postgresql: PostgreSQL | None
    to_postgresql: Proxy | None

    def pid_of(self, service: str) -> int:
        """A living process of a service, or the supervisor's."""
        if service == "supervisor":
            return int((self.karma.home / "run" / "supervisor.pid").read_text())
        alive: list[int] = []

        def found() -> bool:
            alive[:] = [info.pid for info in workers(self.redis.client) if info.service == service and runs(info.pid)]
            return bool(alive)

        wait_until(found, 60, f"a {service} is alive")
        return alive[0]


def faults_of(world: World) -> dict[str, Callable[[random.Random], None]]:
    """Every fault of this world by its name. Each returns once it is over: recovery is not part of it."""
    found: dict[str, Callable[[random.Random], None]] = {
        "redis_emptied": lambda _draw: world.redis.client.flushall(),
        "redis_killed_with_file": lambda draw: _redis_dies(world, draw, with_file=True),
        "redis_killed_without_file": lambda draw: _redis_dies(world, draw, with_file=False),
        "redis_frozen": lambda draw: _freeze(world.redis.pid, draw.uniform(2, 8)),
        "supervisor_killed": lambda _draw: _supervisor_dies(world),
    }
    for service in SERVICES:
        found[f"{service}_killed"] = lambda _draw, name=service: os.kill(world.pid_of(name), signal.SIGKILL)
        found[f"{service}_frozen"] = lambda draw, name=service: _freeze(world.pid_of(name), draw.uniform(3, 20))
    proxies = {"redis": world.to_redis, "endpoint": world.to_endpoint}
    if world.to_postgresql is not None:
        proxies["database"] = world.to_postgresql
    for name, proxy in proxies.items():
        found[f"{name}_cut"] = lambda _draw, one=proxy: _cut(one)
        found[f"{name}_slow"] = lambda draw, one=proxy: _slow(one, draw)
        found[f"{name}_away"] = lambda draw, one=proxy: _away(one, draw)
        if name != "endpoint":  # a call there may last as long as its model's timeout_s
            found[f"{name}_deaf"] = lambda draw, one=proxy: _deaf(one, draw)
    if world.postgresql is not None:
        server = world.postgresql
        found["database_restarted"] = lambda draw: _restart(server, draw)
    else:
        found["database_locked"] = lambda draw: _lock(world.karma.home / "karma.db", draw.uniform(2, 8))
    return found


def runs(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    with suppress(OSError):
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[-1].split()[0]
    return False


def _freeze(pid: int, seconds: float) -> None:
    os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def _redis_dies(world: World, draw: random.Random, with_file: bool) -> None:
    world.redis.kill(with_file)
    time.sleep(draw.uniform(0.2, 4))
    world.redis.start()


def _supervisor_dies(world: World) -> None:
    """Its workers notice and stop; whoever looks after the machine starts it again."""
    pid = world.pid_of("supervisor")
    orphans = [info.pid for info in workers(world.redis.client)]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(runs(orphan) for orphan in orphans), 60, "the orphans end")
    world.karma.run("up", "--detach", "--no-page")


def _cut(proxy: Proxy) -> None:
    proxy.reset()


def _slow(proxy: Proxy, draw: random.Random) -> None:
    proxy.delay_s = draw.uniform(0.1, 0.5)
    time.sleep(draw.uniform(3, 8))
    proxy.delay_s = 0.0


def _away(proxy: Proxy, draw: random.Random) -> None:
    proxy.closed = True
    proxy.reset()
    time.sleep(draw.uniform(2, 8))
    proxy.closed = False


def _deaf(proxy: Proxy, draw: random.Random) -> None:
    """What is sent vanishes for a while; then the connections are found to be dead, or never heard of again."""
    proxy.deaf = True
    time.sleep(draw.uniform(3, 15))
    proxy.forget() if draw.random() < 0.5 else None
    proxy.deaf = False


def _restart(server: PostgreSQL, draw: random.Random) -> None:
    server.stop(draw.choice([signal.SIGINT, signal.SIGQUIT]))
    time.sleep(draw.uniform(0, 3))
    server.start()


def _lock(path: Path, seconds: float) -> None:
    """Somebody else writes, and takes long."""
    with sqlite3.connect(path, timeout=60, isolation_level=None) as connection:
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(seconds)
        connection.execute("ROLLBACK")
