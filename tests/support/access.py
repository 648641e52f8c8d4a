"""A Redis whose users are those of `karma acl`, and a pipeline whose processes each have their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from karma.config.redis_address import ADMIN, USERS
from karma.queue.acl import acl_lines
from karma.queue.heartbeats import workers
from tests.support import needs
from tests.support.pipeline import KARMA, Pipeline, wait_until
from tests.support.ports import free_port

#: Passwords of the users, with what means something in a URL.
PASSWORDS = {user: f"p@ss#{user}/100%?:" for user in (*USERS, ADMIN)}


class GuardedRedis:
    """A server on 127.0.0.1 with an ACL file."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "users.acl").write_text("\n".join([*acl_lines(PASSWORDS), ""]))
        self.port = free_port()
        options = {"port": self.port, "bind": "127.0.0.1", "dir": folder, "aclfile": folder / "users.acl"}
        arguments = (part for name, value in options.items() for part in (f"--{name}", str(value)))
        self._server = subprocess.Popen([str(needs.redis()), *arguments], stdout=subprocess.DEVNULL)
        self.admin = self.client(ADMIN)
        wait_until(self._answers, 30, "Redis answers")

    def client(self, user: str) -> Any:
        return redis.Redis(port=self.port, username=user, password=PASSWORDS[user])

    def stop(self) -> None:
        self._server.terminate()
        self._server.wait(20)

    def _answers(self) -> bool:
        try:
            return bool(self.admin.ping())
        except redis.ConnectionError:
            return False


class GuardedPipeline(Pipeline):
    """The services of a pipeline as processes of their own, each with its own user; the commands run as `cli`."""

    def __init__(self, home: Path, pool: str, server: GuardedRedis) -> None:
        super().__init__(home, pool, "tests.support.instant", redis_url=f"redis://127.0.0.1:{server.port}/0")
        self._server = server
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.environment |= {"KARMA_SIGNING_KEY": "a secret of thirty-two characters", "KARMA_PAGE_PORT": "0"}
        self.environment |= {"KARMA_REDIS_USER": "cli", "KARMA_REDIS_PASSWORD": PASSWORDS["cli"]}
        (home / "logs").mkdir()

    def start(self, *services: str) -> None:
        """Start services and wait until they are ready."""
        before = {info.id for info in workers(self._server.admin)}
        for service in services:
            environment = {**self.environment, "KARMA_REDIS_USER": service, "KARMA_REDIS_PASSWORD": PASSWORDS[service]}
            command = [*KARMA, "worker", service] if service != "page" else [sys.executable, "-m", "karma.run", "page"]
            with (self.home / "logs" / f"{service}.log").open("ab") as log:
                self._processes[service] = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

        def are_ready() -> bool:
            assert all(process.poll() is None for process in self._processes.values()), self.logs()
            return {info.service for info in workers(self._server.admin) if info.id not in before} >= set(services)

        wait_until(are_ready, 60, f"{services} are ready")

    def end(self, *services: str, kill: bool = False) -> None:
        """Stop services, or kill them."""
        ended = [self._processes.pop(service) for service in services]
        for process in ended:
            process.kill() if kill else process.terminate()
        for process in ended:
            process.wait(30)

    @contextmanager
    def running(self) -> Iterator[GuardedPipeline]:
        try:
            self.start("gateway", "generation", "scoring", "matching", "judging", "page")
            yield self
        finally:
            self.end(*self._processes)
