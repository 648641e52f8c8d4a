"""The supervisor: an embedded Redis and one process per service, for one machine."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from karma.config.environment import Environment
from karma.config.pool import Pool
from karma.errors import BrokerError, KarmaError, NewerSchemaError
from karma.queue.heartbeats import WorkerInfo, workers
from karma.queue.redis import connect
from karma.registry import judge_kind
from karma.store import Store
from karma_cli.local.pid_file import PidFile
from karma_cli.local.redis_server import RedisServer
from karma_monitor.page import access

log = logging.getLogger(__name__)

_READY_S = 90.0
_STOP_S = 20.0
_RESTARTS_PER_MINUTE = 10
_RESTART_WAIT_S = 5.0  # between two starts of a worker beyond that
_SCHEMA_WAIT_S = 30.0  # … and of one whose store a newer version migrated, until that version is installed here


class WorkerDeadError(KarmaError):
    """A worker ended before it was ready."""


@dataclass(frozen=True)
class Command:
    """One worker to be run: the arguments of `karma.worker.run`, and the name of its log."""

    name: str
    arguments: tuple[str, ...]
    needed: bool = True  # whether the pipeline is not up without it


#: The page, which the pipeline can do without.
PAGE = Command("page", ("page",), needed=False)


@dataclass
class _Running:
    command: Command
    process: subprocess.Popen[bytes]
    log_file: IO[bytes]
    starts: list[float]


def commands(pool: Pool) -> list[Command]:
    """One process per service, but one per group of models and one per judge that has a model of its own here."""
    found = [Command("gateway", ("gateway",)), Command("scoring", ("scoring",)), Command("matching", ("matching",))]
    groups: dict[str, list[str]] = {}
    for model in pool.models:
        groups.setdefault(pool.groups[model], []).append(model)
    for group, models in groups.items():
        found.append(Command(f"generation-{group}", ("generation", ",".join(models))))
    remote = [name for name, judge in pool.judges.items() if not judge_kind(judge.kind).local]
    for name, judge in pool.judges.items():
        if judge_kind(judge.kind).local:
            found.append(Command(f"judging-{name}", ("judging", name)))
    if remote:
        found.append(Command("judging", ("judging", ",".join(remote))))
    return found


class Supervisor:
    """Starts everything, keeps it running, and stops it in the reverse order.

    With `page` the page runs too; where it cannot, `problems` says why, and all else is up.
    """

    def __init__(self, environment: Environment, pool: Pool, redis_port: int = 0, page: bool = False) -> None:
        self._environment = environment
        self._pool = pool
        self._commands = [*commands(pool), *([PAGE] if page else [])]
        self._redis = None if environment.redis_url else RedisServer(environment.home, redis_port)
        self._running: list[_Running] = []
        self._targets_are_old = False
        self._pid_file = PidFile(environment.home)
        self._targets_file = environment.home / "run" / "targets.json"
        self.logs = environment.home / "logs"
        self.url = ""
        self.problems: list[str] = []

    @contextmanager
    def run(self, on_progress: Callable[[str], None] = lambda _text: None) -> Iterator[Supervisor]:
        """Everything up and ready within the block; everything stopped after it."""
        self.start(on_progress)
        try:
            yield self
        finally:
            self.stop()

    def start(self, on_progress: Callable[[str], None] = lambda _text: None) -> None:
        """Start and wait until all are ready.

        Raises:
            KarmaError: it runs already, or something does not come up; whatever was started is stopped again.
        """
        self._pid_file.hold()
        self.logs.mkdir(parents=True, exist_ok=True)
        self._targets_file.unlink(missing_ok=True)  # of one that was killed
        try:
            self.url = self._redis.start() if self._redis else str(self._environment.redis_url)
            connect(self.url)
            store = Store(self._environment.database_url)
            store.migrate()
            store.close()
            if PAGE in self._commands:
                access.url_path(self._environment.home).unlink(missing_ok=True)  # of one that was killed
                access.new_token(self._environment.home)
            for command in self._commands:
                self._running.append(self._spawn(command))
            self._wait_until_ready(on_progress)
        except BaseException:
            self.stop()
            raise

    def watch(self, on_event: Callable[[str], None]) -> None:
        """One look at the processes: restart those that ended; say so.

        A worker that ends again and again is started less often and never given up: the others have their work, and
        whatever kills it is spent after its attempts.
        """
        if self._redis is not None and not self._redis.alive:
            on_event("Redis ended; starting it again")
            try:
                self._redis.start()
            except BrokerError as cause:
                on_event(f"{cause}; trying again")
        for place, running in enumerate(self._running):
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
            on_event(f"the worker {name} ended with exit code {code}; starting it again (log: {self._log_path(name)})")
            running.log_file.close()
            self._running[place] = self._spawn(running.command, recent)
            self._targets_are_old = True
        if self._targets_are_old:
            self._renew_targets()

    def _renew_targets(self) -> None:
        pids = {running.process.pid for running in self._running}
        ready: list[WorkerInfo] = []
        with suppress(BrokerError):  # at the next look
            ready = [info for info in self.alive() if info.pid in pids]
        if ready:  # one that does not come up keeps none of the others out
            self._write_targets(ready)
        self._targets_are_old = len(ready) < len(pids)

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
        if self._redis:
            self._redis.stop()
        written = [self._targets_file]
        if PAGE in self._commands:
            written += [access.token_path(self._environment.home), access.url_path(self._environment.home)]
        for path in written:
            path.unlink(missing_ok=True)
        self._pid_file.release()

    def alive(self) -> list[WorkerInfo]:
        """The workers that show life."""
        return [info for info in workers(connect(self.url)) if info.state == "ready"]

    def _spawn(self, command: Command, starts: Sequence[float] = ()) -> _Running:
        log_file = self._log_path(command.name).open("ab")
        environment = {
            **os.environ,
            "KARMA_HOME": str(self._environment.home),
            "KARMA_POOL": str(self._environment.pool_path),
            "KARMA_REDIS_URL": self.url,
            "KARMA_DATABASE_URL": self._environment.database_url,
            "KARMA_METRICS_PORT": "0",
            "KARMA_SUPERVISOR_PID": str(os.getpid()),
            "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin starve the other processes of a small machine
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "karma.run", *command.arguments],
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # Ctrl-C goes to the supervisor, which stops the workers in order
        )
        return _Running(command, process, log_file, [*starts, time.monotonic()])

    def _wait_until_ready(self, on_progress: Callable[[str], None]) -> None:
        deadline = time.monotonic() + _READY_S
        wanted = {running.process.pid: running.command.name for running in self._running}
        ready: list[WorkerInfo] = []
        while time.monotonic() < deadline:
            with suppress(BrokerError):  # one that was here a moment ago may come back
                ready = [info for info in self.alive() if info.pid in wanted]
            on_progress(f"{len(ready)} of {len(wanted)} workers are ready")
            if {info.pid for info in ready} >= wanted.keys():
                self._write_targets(ready)
                return
            for running in list(self._running):
                if running.process.poll() is None:
                    continue
                if running.command.needed:
                    raise WorkerDeadError(self._obituary(running))
                self.problems.append(self._obituary(running))
                running.log_file.close()
                self._running.remove(running)
                del wanted[running.process.pid]
            time.sleep(0.1)
        late = ", ".join(sorted(set(wanted.values()) - {wanted[info.pid] for info in ready}))
        raise WorkerDeadError(f"not ready after {_READY_S:.0f} s: {late}. Their logs are in {self.logs}")

    def _obituary(self, running: _Running) -> str:
        path = self._log_path(running.command.name)
        return (
            f"the worker {running.command.name} ended with exit code {running.process.returncode}: "
            f"{last_said(path)} (log: {path})"
        )

    def _write_targets(self, ready: Sequence[WorkerInfo]) -> None:
        """A target list as Prometheus' `file_sd_configs` reads it."""
        targets = [
            {"targets": [f"127.0.0.1:{info.metrics_port}"], "labels": {"service": info.service, "worker": info.id}}
            for info in ready
        ]
        self._targets_file.write_text(json.dumps(targets, indent=1))

    def _log_path(self, name: str) -> Path:
        return self.logs / f"{name}.log"


def last_said(log_path: Path) -> str:
    """The last line of a process's log as a sentence, without the fields that are for machines."""
    with suppress(OSError):
        lines = [line for line in log_path.read_text(errors="replace").splitlines() if line.strip()]
        if lines:
            return _sentence(lines[-1])
    return "it said nothing"


def _sentence(line: str) -> str:
    try:
        fields = json.loads(line)
    except ValueError:
        return line
    if not isinstance(fields, dict) or "event" not in fields:
        return line
    raised = fields.get("exception") or [{}]  # the last raised first
    return ": ".join(str(part) for part in (fields["event"], raised[0].get("type"), raised[0].get("message")) if part)
