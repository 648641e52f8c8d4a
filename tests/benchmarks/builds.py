"""Builds of KARMA that are measured side by side: this working tree, and any commit in a checkout of its own.

All run in this Python environment; a build's modules come before the installed ones. Pool files and options of `karma`
are those that all builds know.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.processes import cpu_by_name, ended_cpu_s
from tests.support.pipeline import ROOT, wait_until

_READY_S, _STOP_S, _RUN_S = 120.0, 60.0, 3600.0


@dataclass(frozen=True)
class Build:
    """A source tree and how its command is started."""

    name: str
    root: Path

    def command(self, *arguments: str) -> list[str]:
        """`karma` of this build, whatever module it is in."""
        scripts = tomllib.loads((self.root / "pyproject.toml").read_text())["project"]["scripts"]
        module, _, function = scripts["karma"].partition(":")
        program = f"import sys; from {module} import {function}; sys.argv[0] = 'karma'; {function}()"
        return [sys.executable, "-c", program, *arguments]

    def pool(self, text: str) -> str:
        """A pool file without the goal `label` for builds from before there were goals: they did what it says."""
        knows_goals = (self.root / "shared" / "karma" / "config" / "goals.py").exists()
        return text if knows_goals else text.replace('goal = "label"\n', "")

    def up_options(self) -> list[str]:
        """Those that leave out the page, and the calls by which later builds check the models."""
        environment = {**os.environ, "PYTHONPATH": self.python_path, "COLUMNS": "200"}
        told = subprocess.run(
            self.command("up", "--help"), env=environment, check=True, capture_output=True, text=True
        ).stdout
        return [option for option in ("--no-page", "--no-check") if option in told]

    @property
    def python_path(self) -> str:
        return os.pathsep.join(str(self.root / folder) for folder in ("", "shared", "services"))


HERE = Build("karma", ROOT)


@contextmanager
def checkout(commit: str) -> Iterator[Build]:
    """The build of a commit, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="karma-build-") as folder:
        root = Path(folder) / "tree"
        git = ["git", "-C", str(ROOT), "worktree"]
        made = subprocess.run(
            [*git, "add", "--detach", root, commit], check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        if made.returncode != 0:
            raise SystemExit(f"no build of {commit}: {made.stdout.decode().strip()}")
        try:
            yield Build(commit, root)
        finally:
            subprocess.run([*git, "remove", "--force", root], check=True)


@dataclass
class Running:
    """One `karma up` in a home of its own."""

    build: Build
    home: Path
    environment: dict[str, str]
    ready_s: float = 0.0
    servers: tuple[int, ...] = ()  # process ids of databases that it uses, whose CPU time counts
    _process: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self._process[0].pid

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far, by name of process."""
        return cpu_by_name(self.pid, *self.servers)

    def run(self, *arguments: str) -> tuple[float, float]:
        """Run a command of `karma` to its end; returns how many seconds it took, and its CPU seconds."""
        started, before = time.monotonic(), ended_cpu_s()
        done = subprocess.run(
            self.build.command(*arguments),
            env=self.environment,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_RUN_S,
        )
        seconds, cpu_s = time.monotonic() - started, ended_cpu_s() - before
        if done.returncode != 0:
            raise SystemExit(f"{self.build.name}: karma {arguments} failed: {done.stderr.decode()}\n{self.logs()}")
        return seconds, cpu_s

    def measured(self, *arguments: str) -> tuple[float, dict[str, float]]:
        """Run a command; returns how many seconds it took, and the CPU seconds of all processes meanwhile, by name.

        The command has the name `enqueue`.
        """
        before = self.cpu()
        seconds, command_s = self.run(*arguments)
        used = {name: cpu_s - before.get(name, 0.0) for name, cpu_s in self.cpu().items()}
        return seconds, {**used, "enqueue": command_s}

    def logs(self) -> str:
        """The last lines of each log."""
        paths = sorted((self.home / "logs").glob("*.log"))
        return "\n".join("\n".join(path.read_text(errors="replace").splitlines()[-8:]) for path in paths)


@contextmanager
def up(
    build: Build, home: Path, pool: str, variables: Mapping[str, str] | None = None, servers: tuple[int, ...] = ()
) -> Iterator[Running]:
    """`karma up` without the page, ready within the block; `variables` join its environment."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "pool.toml").write_text(build.pool(pool))
    ignored = ("KARMA_", "PYTHONDONTWRITEBYTECODE")  # the latter would have each process compile all it imports
    running = Running(
        build,
        home,
        {
            **{name: value for name, value in os.environ.items() if not name.startswith(ignored)},
            "KARMA_HOME": str(home),
            "KARMA_POOL": str(home / "pool.toml"),
            "PYTHONPATH": build.python_path,
            **(variables or {}),
        },
        servers=servers,
    )
    log, targets = home / "up.log", home / "run" / "targets.json"
    command = build.command("up", *build.up_options())
    started = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            env=running.environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    running._process.append(process)
    try:
        wait_until(lambda: targets.exists() or process.poll() is not None, _READY_S, "`karma up` is ready", 0.01)
        running.ready_s = round(time.monotonic() - started, 2)
        if process.poll() is not None:
            raise SystemExit(f"{build.name}: `karma up` ended: {log.read_text()}\n{running.logs()}")
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_STOP_S)


def write_prompts(path: Path, count: int, first: int = 0) -> Path:
    """A file of prompts of about 250 characters with ids, as `karma enqueue` and every rival read them."""
    lines = (json.dumps({"id": f"q{n}", "prompt": prompt(n)}) + "\n" for n in range(first, first + count))
    path.write_text("".join(lines))
    return path


def prompt(number: int) -> str:
    """A prompt of about 40 words; no other number has the same."""
    words = " ".join(f"word{number * 7919 % 1009 + place * 31 % 97}" for place in range(30))
    return f"Say which of these words occurs most often in lists such as the one with the number {number}: {words}."


@contextmanager
def ledger(running: Running) -> Iterator[sqlite3.Connection]:
    """A connection that reads the store, which is SQLite."""
    with closing(sqlite3.connect(f"file:{running.home}/karma.db?mode=ro", uri=True, isolation_level=None)) as found:
        yield found


def one(connection: sqlite3.Connection, query: str) -> Any:
    """The only value of a query's only row."""
    return connection.execute(query).fetchone()[0]
