"""A whole pipeline of real processes for a test: its own home, Redis and SQLite, and `karma` as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from karma.config.environment import Environment
from karma.config.pool import Pool
from karma.errors import BrokerError, SettingsError
from karma.queue.heartbeats import WorkerInfo, workers
from karma.queue.redis import connect
from karma.store import Store
from karma_cli.local.pid_file import running_pid
from karma_monitor.status import status
from tests.support import needs
from tests.support.command import call

KARMA = [sys.executable, "-m", "karma_cli"]
ROOT = Path(__file__).parents[2]


def wait_until(condition: Callable[[], object], deadline_s: float, what: str, every_s: float = 0.05) -> None:
    """Wait until a condition holds; fails with `what` after the deadline."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(every_s)
    raise AssertionError(f"not within {deadline_s} s: {what}")


@contextmanager
def redis_of(environment: Environment) -> Iterator[Any | None]:
    """The Redis that runs in a home, if one does."""
    try:
        redis = connect(environment.broker_url())
    except (BrokerError, SettingsError):
        yield None
        return
    with redis:
        yield redis


class Pipeline:
    """`karma` on a home of its own."""

    def __init__(
        self, home: Path, pool: str, plugins: str = "", database_url: str | None = None, redis_url: str | None = None
    ) -> None:
        self.home = home
        self.pool_path = home / "pool.toml"
        home.mkdir(parents=True, exist_ok=True)
        self.pool_path.write_text(pool)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("KARMA_")},
            "KARMA_HOME": str(home),
            "KARMA_POOL": str(self.pool_path),
            "KARMA_PLUGINS": plugins,
            "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in ("", "shared", "services")),
            "HF_HUB_OFFLINE": "1",
        }
        if database_url is not None:
            self.environment["KARMA_DATABASE_URL"] = database_url
        if redis_url is not None:
            self.environment["KARMA_REDIS_URL"] = redis_url
        self._workers: list[subprocess.Popen[bytes]] = []
        self._migrated = False

    def run(self, *arguments: str, text: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `karma` as a user does."""
        done = subprocess.run(
            [*KARMA, *arguments],
            input=text,
            check=False,
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=280,
        )
        return self._checked(done) if check else done

    def call(self, *arguments: str, text: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `karma` in this process, where the test is not about the command."""
        done = call(*arguments, environment=self.environment, text=text)
        return self._checked(done) if check else done

    def _checked(self, done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
        if done.returncode != 0:
            raise AssertionError(f"karma {done.args} exited {done.returncode}:\n{done.stderr}\n{self.logs()}")
        return done

    @contextmanager
    def up(self, page: bool = False) -> Iterator[Pipeline]:
        """`karma up` as a child of this process, ready within the block; also stops one that was started since."""
        if "KARMA_REDIS_URL" not in self.environment:
            needs.redis()
        targets = self.home / "run" / "targets.json"
        targets.unlink(missing_ok=True)  # of one that was killed
        log = self.home / "logs" / "supervisor.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*KARMA, "up", "--no-check", "--page" if page else "--no-page"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=self.environment,
                start_new_session=True,
            )
        try:
            wait_until(lambda: targets.exists() or process.poll() is not None, 120, "`karma up` is ready", every_s=0.1)
            if process.poll() is not None:
                raise AssertionError(f"`karma up` ended: {log.read_text()}\n{self.logs()}")
            yield self
        finally:
            for worker in list(self._workers):
                self.stop_worker(worker)
            if (pid := running_pid(self.home)) is not None:
                os.kill(pid, signal.SIGTERM)
            wait_until(lambda: running_pid(self.home) is None, 60, "`karma up` stops", every_s=0.1)
            process.wait(60)

    def enqueue(self, prompts: list[dict], *options: str) -> dict:
        """What `karma enqueue` says of prompts that are all accepted."""
        lines = "".join(json.dumps(prompt) + "\n" for prompt in prompts)
        return json.loads(self.call("enqueue", "-", "--json", *options, text=lines).stdout)

    def _found(self) -> Environment:
        return Environment.read({name: value for name, value in self.environment.items() if name.startswith("KARMA_")})

    def status(self) -> dict:
        """What `karma status --json` says."""
        found = self._found()
        store = Store(found.database)
        try:
            if not self._migrated:
                store.migrate()
                self._migrated = True
            with redis_of(found) as redis:
                return status(store, redis, Pool.read(found.pool_path))
        finally:
            store.close()

    def wait_for_end(self, prompts: int, deadline_s: float = 120) -> dict:
        """Wait until `prompts` have ended; returns the status then."""
        store = Store(self._found().database)

        def ended() -> bool:
            with store.reading() as transaction:
                states = transaction.ledger.count_states()
            return states["done"] + states["dead"] >= prompts

        try:
            wait_until(ended, deadline_s, f"{prompts} prompts ended", every_s=0.2)
        except AssertionError as late:
            raise AssertionError(f"{late}; {self.status()}\n{self.logs()}") from None
        finally:
            store.close()
        return self.status()

    def workers(self, service: str) -> list[WorkerInfo]:
        """The workers of a service that are ready."""
        with redis_of(self._found()) as redis:
            assert redis is not None, "no Redis runs"
            return [info for info in workers(redis) if info.service == service and info.state == "ready"]

    def start_workers(self, service: str, count: int, *options: str) -> list[subprocess.Popen[bytes]]:
        """More workers of a service, ready."""
        wanted = len(self.workers(service)) + count
        started = []
        for _worker in range(count):
            path = self.home / "logs" / f"extra-{service}-{len(self._workers)}.log"
            command = [*KARMA, "worker", service, *options]
            with path.open("wb") as log:
                started.append(subprocess.Popen(command, stdout=log, stderr=log, env=self.environment))
            self._workers.append(started[-1])
        wait_until(lambda: len(self.workers(service)) >= wanted, 60, f"{wanted} {service} are ready", every_s=0.2)
        return started

    def stop_worker(self, worker: subprocess.Popen[bytes]) -> None:
        self._workers.remove(worker)
        if worker.poll() is None:
            worker.send_signal(signal.SIGTERM)
            worker.wait(30)

    def logs(self) -> str:
        parts = []
        for path in sorted((self.home / "logs").glob("*.log")):
            parts += [f"== {path.name}", *path.read_text(errors="replace").splitlines()[-8:]]
        return "\n".join(parts)
