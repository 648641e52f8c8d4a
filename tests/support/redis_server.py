"""A Redis server that a test can kill, with and without its file, and start again on the same port."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import redis

from tests.support import needs
from tests.support.pipeline import wait_until
from tests.support.ports import free_port


class Redis:
    """A server in `folder` on 127.0.0.1, with its append-only file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client: Any = redis.Redis(port=self.port)
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._server is not None
        return self._server.pid

    def start(self) -> str:
        self._folder.mkdir(parents=True, exist_ok=True)
        options = {"port": self.port, "bind": "127.0.0.1", "dir": self._folder, "appendonly": "yes", "save": ""}
        command = [
            str(needs.redis()),
            *(part for name, value in options.items() for part in (f"--{name}", str(value))),
        ]
        self._server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._answers, 30, "Redis answers")
        return self.url

    def kill(self, with_file: bool = True) -> None:
        """SIGKILL; without its file everything it held is gone."""
        self.stop(signal.SIGKILL)
        if not with_file:
            shutil.rmtree(self._folder)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        assert self._server is not None
        self._server.send_signal(how)
        self._server.wait(20)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False
