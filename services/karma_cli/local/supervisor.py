"""The supervisor behind `karma up`: an embedded Redis and one process per service, on one machine."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from karma.config.atomic_file import write_private
from karma.config.environment import Environment
from karma.config.pool import Pool
from karma.errors import BrokerError, KarmaError, NewerSchemaError
from karma.queue.heartbeats import WorkerInfo, workers
from karma.queue.redis import connect
from karma_cli.local.child_environment import child_environment, open_environment
from karma_cli.local.pid_file import PidFile
from karma_cli.local.redis_server import RedisServer
from karma_cli.local.signing_key import ensure_signing_key
from karma_cli.local.worker_commands import MIGRATION, PAGE, Command, commands
from karma_cli.local.worker_processes import Process, WorkerProcesses
from karma_monitor.page import access

log = logging.getLogger(__name__)

_READY_S = 90.0
_STOP_S = 20.0
_RESTARTS_PER_MINUTE = 10
_RESTART_WAIT_S = 5.0  # between two starts of a worker that exceeds the limit
_SCHEMA_WAIT_S = 30.0  # … and of a worker whose store a newer version migrated

#: Of every worker: spinning threads starve the other processes of a small machine.
_VARIABLES = {"OMP_WAIT_POLICY": "PASSIVE"}

#: Said where a Redis that others may reach is used without a signing key.
UNSIGNED = (
    "messages are not signed: whoever can write to Redis can forge responses and verdicts. Set KARMA_SIGNING_KEY "
    "(docs/security.md)"
)


class WorkerDeadError(KarmaError):
    """A worker ended before it was ready."""


class MigrationError(KarmaError):
    """The store was not migrated.

    Args:
        text: what the process said that tried it.
        code: its exit code.
    """

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.exit_code = code


@dataclass
class _Running:
    command: Command
    process: Process
    log_file: IO[bytes]
    starts: list[float]  # of `time.monotonic`


class Supervisor:
    """Starts Redis and the workers, restarts those that end, and stops all of them.

    With `page` it runs the page too. A page that cannot start is in `problems`; the pipeline runs without it.
    """

    def __init__(self, environment: Environment, pool: Pool, redis_port: int = 0, page: bool = False) -> None:
        self._environment = environment
        self._pool = pool
        self._commands = [*commands(pool), *([PAGE] if page else [])]
        self._redis = None if environment.redis_url else RedisServer(environment.home, redis_port)
        self._processes: WorkerProcesses | None = None
        self._running: list[_Running] = []
        self._targets_stale = False
        self._pid_file = PidFile(environment.home)
        self._targets_file = environment.home / "run" / "targets.json"
        self.logs = environment.home / "logs"
        self.url = ""
        self.problems: list[str] = []

    @contextmanager
    def run(self, on_progress: Callable[[str], None] = lambda _text: None) -> Iterator[Supervisor]:
        """Start everything and wait until it is ready; stop everything after the block.

        Raises:
            KarmaError: it is already running, or something does not start; everything is stopped again.
        """
        self._pid_file.hold()
        try:
            self._start(on_progress)
            yield self
        finally:
            self.stop()

    def _start(self, on_progress: Callable[[str], None]) -> None:
        self.logs.mkdir(parents=True, exist_ok=True)
        self._targets_file.unlink(missing_ok=True)  # left by a killed supervisor
        self._processes = self._template()
        if self._redis:
            ensure_signing_key(self._environment)
        elif not self._environment.keyring().signs:
            self.problems.append(UNSIGNED)
        self.url = self._redis.start() if self._redis else str(self._environment.redis_url)
        connect(self.url)
        self._migrate()
        if PAGE in self._commands:
            access.url_path(self._environment.home).unlink(missing_ok=True)  # left by a killed supervisor
        self._running += [self._spawn(command) for command in self._commands]
        self._wait_until_ready(on_progress)

    def _migrate(self) -> None:
        running = self._spawn(MIGRATION)
        code = running.process.wait()
        running.log_file.close()
        if code:
            raise MigrationError(last_log_line(self._log_path(MIGRATION.name)).removeprefix("karma: "), code)

    def check(self, on_event: Callable[[str], None]) -> None:
        """Restart Redis and the workers that ended; `on_event` gets a sentence for each.

        A worker that ends again and again is restarted less often, but always: the other workers have their work, and
        a batch that kills a worker runs out of attempts.
        """
        if self._redis is not None and not self._redis.alive:
            on_event("Redis ended; restarting it")
            try:
                self._redis.start()
            except BrokerError as cause:
                on_event(f"{cause}; retrying")
        for index, running in enumerate(self._running):
            code = running.process.poll()
            if code is None:
                continue
            now = time.monotonic()
            recent = [start for start in running.starts if start > now - 60]
            wait_s = _RESTART_WAIT_S if len(recent) >= _RESTARTS_PER_MINUTE else 0.0
            if code == NewerSchemaError.exit_code:
                wait_s = _SCHEMA_WAIT_S
            if now < running.starts[-1] + wait_s:
                continue
            name = running.command.name
            on_event(f"the worker {name} ended with exit code {code}; restarting it (log: {self._log_path(name)})")
            running.log_file.close()
            # After a migration a newer version may be installed: only a new interpreter runs it.
            self._running[index] = self._spawn(running.command, recent, anew=code == NewerSchemaError.exit_code)
            self._targets_stale = True
        if self._targets_stale:
            pids = {running.process.pid for running in self._running}
            ready = self._ready_among(pids)
            if ready:  # a worker that does not start keeps none of the others out
                self._write_targets(ready)
            self._targets_stale = len(ready) < len(pids)

    def stop(self) -> None:
        """SIGTERM to all workers, wait for them, then stop Redis. Harmless when called again."""
        for running in self._running:
            if running.process.poll() is None:
                running.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _STOP_S
        for running in self._running:
            try:
                running.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("the worker %s did not stop within %d s; it is killed", running.command.name, _STOP_S)
                running.process.kill()
                running.process.wait()
            running.log_file.close()
        self._running.clear()
        if self._processes is not None:
            self._processes.close()
        if self._redis:
            self._redis.stop()
        written = [self._targets_file]
        if PAGE in self._commands:
            written.append(access.url_path(self._environment.home))
        for path in written:
            path.unlink(missing_ok=True)
        self._pid_file.release()

    def ready_workers(self) -> list[WorkerInfo]:
        """The workers with a recent heartbeat."""
        return [info for info in workers(connect(self.url)) if info.state == "ready"]

    def _ready_among(self, pids: Container[int]) -> list[WorkerInfo]:
        """The ready workers with these process ids; none while Redis is unavailable."""
        with suppress(BrokerError):
            return [info for info in self.ready_workers() if info.pid in pids]
        return []

    def _template(self) -> WorkerProcesses:
        """What starts the workers; their packages are imported meanwhile."""
        services = list(dict.fromkeys(command.arguments[0] for command in self._commands))
        with self._log_path("template").open("ab") as log_file:
            return WorkerProcesses(services, {**open_environment(os.environ), **_VARIABLES}, log_file)

    def _spawn(self, command: Command, starts: Sequence[float] = (), anew: bool = False) -> _Running:
        if self._processes is None:
            raise KarmaError("the supervisor does not run")
        log_file = self._log_path(command.name).open("ab")
        environment = {
            **child_environment(os.environ, self._environment, self._pool, command.arguments),
            "KARMA_HOME": str(self._environment.home),
            "KARMA_POOL": str(self._environment.pool_path),
            "KARMA_REDIS_URL": self.url,
            "KARMA_METRICS_PORT": "0",
            "KARMA_SUPERVISOR_PID": str(os.getpid()),
            **_VARIABLES,
        }
        start = self._processes.start_anew if anew else self._processes.start
        process = start(command.arguments, environment, log_file)
        return _Running(command, process, log_file, [*starts, time.monotonic()])

    def _wait_until_ready(self, on_progress: Callable[[str], None]) -> None:
        deadline = time.monotonic() + _READY_S
        names = {running.process.pid: running.command.name for running in self._running}
        while time.monotonic() < deadline:
            ready = self._ready_among(names)
            on_progress(f"{len(ready)} of {len(names)} workers are ready")
            if {info.pid for info in ready} >= names.keys():
                self._write_targets(ready)
                return
            for running in list(self._running):
                if running.process.poll() is None:
                    continue
                problem = self._exit_message(running)
                if running.command.required:
                    raise WorkerDeadError(problem)
                self.problems.append(problem)
                running.log_file.close()
                self._running.remove(running)
                del names[running.process.pid]
            time.sleep(0.1)
        late = ", ".join(sorted(names[pid] for pid in names.keys() - {info.pid for info in ready}))
        raise WorkerDeadError(f"not ready after {_READY_S:.0f} s: {late}. Their logs are in {self.logs}")

    def _exit_message(self, running: _Running) -> str:
        name, code = running.command.name, running.process.poll()
        path = self._log_path(name)
        return f"the worker {name} ended with exit code {code}: {last_log_line(path)} (log: {path})"

    def _write_targets(self, ready: Sequence[WorkerInfo]) -> None:
        """Write a target list for Prometheus' `file_sd_configs`."""
        targets = [
            {"targets": [f"127.0.0.1:{info.metrics_port}"], "labels": {"service": info.service, "worker": info.id}}
            for info in ready
        ]
        write_private(self._targets_file, json.dumps(targets, indent=1))

    def _log_path(self, name: str) -> Path:
        return self.logs / f"{name}.log"


def last_log_line(log_path: Path) -> str:
    """The last line of a process's log as a sentence, without its JSON fields."""
    with suppress(OSError):
        lines = [line for line in log_path.read_text(errors="replace").splitlines() if line.strip()]
        if lines:
            return _sentence(lines[-1])
    return "its log is empty"


def _sentence(line: str) -> str:
    try:
        fields = json.loads(line)
    except ValueError:
        return line
    if not isinstance(fields, dict) or "event" not in fields:
        return line
    raised = (fields.get("exception") or [{}])[0]  # the last exception comes first
    return ": ".join(str(part) for part in (fields["event"], raised.get("type"), raised.get("message")) if part)
