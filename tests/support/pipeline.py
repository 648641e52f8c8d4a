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
from karma.queue.redis import connect
from karma.store import Store
from karma_monitor.status import status

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
        done = subprocess.run(
            [*KARMA, *arguments],
            input=text,
            check=False,
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=280,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"karma {' '.join(arguments)} exited {done.returncode}:\n{done.stderr}\n{self.logs()}")
        return done

    @contextmanager
    def up(self, page: bool = False) -> Iterator[Pipeline]:
        self.run("up", "--detach", "--page" if page else "--no-page")
        try:
            yield self
        finally:
            for worker in list(self._workers):
                self.stop_worker(worker)
            self.run("down")

    def enqueue(self, prompts: list[dict], *options: str) -> dict:
        lines = "".join(json.dumps(prompt) + "\n" for prompt in prompts)
        return json.loads(self.run("enqueue", "-", "--json", *options, text=lines).stdout)

    def status(self) -> dict:
        """What `karma status --json` says, asked in this process: starting another takes most of a second of CPU."""
        found = Environment.read({name: value for name, value in self.environment.items() if name.startswith("KARMA_")})
        store = Store(found.database_url)
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
        found: dict = {}

        def ended() -> bool:
            found.update(self.status())
            return found["prompts"]["done"] + found["prompts"]["dead"] >= prompts

        try:
            wait_until(ended, deadline_s, f"{prompts} prompts ended", every_s=0.2)
        except AssertionError as late:
            raise AssertionError(f"{late}; {found}\n{self.logs()}") from None
        return found

    def start_worker(self, service: str, *options: str) -> subprocess.Popen[bytes]:
        log = (self.home / "logs" / f"extra-{service}-{len(self._workers)}.log").open("wb")
        known = {one["id"] for one in self.status()["workers"]}
        worker = subprocess.Popen([*KARMA, "worker", service, *options], stdout=log, stderr=log, env=self.environment)
        self._workers.append(worker)
        wait_until(lambda: {one["id"] for one in self.status()["workers"]} - known, 30, f"another {service} shows life")
        return worker

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
