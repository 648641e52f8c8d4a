"""Worker processes that a test starts one by one, without a supervisor, each with a log of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.pipeline import Pipeline, wait_until


@dataclass
class Worker:
    """One process and its log."""

    service: str
    process: subprocess.Popen[bytes]
    log_path: Path

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def lines_with(self, words: str) -> list[str]:
        return [line for line in self.log.splitlines() if words in line]

    def wait_for(self, words: str, deadline_s: float = 60) -> None:
        """Wait until the log holds the words; fails where the process ends first without them."""
        wait_until(
            lambda: words in self.log or self.process.poll() is not None, deadline_s, f"{self.service} says {words!r}"
        )
        assert words in self.log, f"{self.service} ended with {self.process.poll()}:\n{self.log}"

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


class Workers:
    """The workers of one home; `karma` has its environment."""

    def __init__(self, karma: Pipeline) -> None:
        self.karma = karma
        self.started: list[Worker] = []
        (karma.home / "logs").mkdir(exist_ok=True)

    def start(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Worker:
        """Run `python -m karma.run ARGUMENTS`."""
        path = self.karma.home / "logs" / f"{len(self.started)}-{arguments[0]}.log"
        with path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "karma.run", *arguments],
                stdout=log,
                stderr=log,
                env={**self.karma.environment, **(environment or {})},
            )
        worker = Worker(arguments[0], process, path)
        self.started.append(worker)
        return worker

    def logs(self) -> str:
        return "\n".join(
            f"== {worker.log_path.name}\n" + "\n".join(worker.log.splitlines()[-8:]) for worker in self.started
        )


@contextmanager
def workers(karma: Pipeline) -> Iterator[Workers]:
    """Workers that are stopped at the end of the block."""
    running = Workers(karma)
    try:
        yield running
    finally:
        for worker in running.started:
            if worker.process.poll() is None:
                worker.process.send_signal(signal.SIGTERM)
        for worker in running.started:
            worker.stop()
