"""What metrics cost: the pipeline of `overhead` with all its metrics, against the same while nothing is counted.

In one run the workers' metrics are switched off and on again for every other lot of prompts, so that whatever else
changes on the machine meets both. Prints the CPU time of all workers a prompt and what metrics add to it in per cent,
with Student's 95 % interval over pairs of neighbouring lots; and, measured in the workers, the CPU time inside of all
that counts as a share of the time without it, which scatters far less and leaves out what answering a scrape takes.
Workers are scraped every five seconds of the lots with metrics. While nothing is counted, the ledger's totals are not
read, and no transaction is measured, either.
`python -m tests.benchmarks.metrics_cost [--prompts N] [--models K] [--lots L] [--json OUT]`
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from karma.queue.heartbeats import WorkerInfo, workers
from karma.queue.redis import connect, wake
from karma.store import Store
from karma_gateway.ingest import Line, take
from tests.benchmarks.paired import difference
from tests.benchmarks.processes import cpu_s
from tests.support.instant import pool
from tests.support.pipeline import ROOT, Pipeline

_LOOK_EVERY_S = 0.05
_SCRAPE_EVERY_S = 5.0


class Lots:
    """Lots of prompts through a running pipeline, with its metrics or without."""

    def __init__(self, karma: Pipeline, redis: Any, prompts: int) -> None:
        self._store = Store(f"sqlite:///{karma.home / 'karma.db'}", durability="full")
        self._redis = redis
        self._prompts = prompts
        self._taken = 0
        self._unscraped_s = 0.0
        self.inside_us: list[float] = []  # a prompt, of each lot with metrics
        self.alive: Sequence[WorkerInfo] = workers(redis)

    def measure(self, counting: bool) -> float:
        """CPU microseconds a prompt of one lot."""
        for info in self.alive:
            os.kill(info.pid, signal.SIGUSR2 if counting else signal.SIGUSR1)
        time.sleep(2 * _LOOK_EVERY_S)  # a signal is answered between two steps of the main thread
        shown, inside = self._dispatched(), self._inside_s()
        before, started = cpu_s(info.pid for info in self.alive), time.monotonic()
        self._run()
        self._unscraped_s += (time.monotonic() - started) * counting
        while self._unscraped_s > _SCRAPE_EVERY_S:
            self._unscraped_s -= _SCRAPE_EVERY_S
            for info in self.alive:
                read(info)
        used = cpu_s(info.pid for info in self.alive) - before
        if (self._dispatched() > shown) != counting:
            raise SystemExit("the workers did not do as they were told: their counters are a proof that nothing counts")
        if counting:
            self.inside_us.append(1e6 * (self._inside_s() - inside) / self._prompts)
        return 1e6 * used / self._prompts

    def _run(self) -> None:
        numbers = range(self._taken, self._taken + self._prompts)
        lines = [Line("lot", n, json.dumps({"id": f"q{n}", "prompt": f"What is {n}?"}).encode()) for n in numbers]
        for start in range(0, len(lines), 500):
            take(self._store, "default", lines[start : start + 500], max_bytes=1 << 20)
        self._taken += self._prompts
        wake(self._redis)
        while self._open() > 0:
            time.sleep(_LOOK_EVERY_S)

    def _open(self) -> int:
        with self._store.reading() as transaction:
            return int(transaction.ledger.has_accepted()) or transaction.ledger.in_flight()

    def _dispatched(self) -> float:
        gateway = next(info for info in self.alive if info.service == "gateway")
        return total(read(gateway), "karma_prompts_dispatched_total")

    def _inside_s(self) -> float:
        return sum(total(read(info), "karma_inside_metrics_seconds") for info in self.alive)


def total(text: str, metric: str) -> float:
    """The sum over a metric's series."""
    lines = (line for line in text.splitlines() if line.startswith((f"{metric} ", f"{metric}{{")))
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def read(info: WorkerInfo) -> str:
    """What a worker serves."""
    found: bytes = urllib.request.urlopen(f"http://127.0.0.1:{info.metrics_port}/metrics", timeout=10).read()
    return found.decode()


def measure(prompts: int, models: int, pairs: int) -> tuple[list[float], list[float], list[float]]:
    """CPU microseconds a prompt of each lot: with metrics, without, inside of metrics; neighbours at the same place."""
    counting: list[float] = []
    silent: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        karma = Pipeline(Path(folder) / "home", pool(models), plugins="tests.support.instant")
        paths = (str(ROOT / "tests" / "support" / "silent"), karma.environment["PYTHONPATH"])
        karma.environment["PYTHONPATH"] = os.pathsep.join(paths)
        with karma.up():
            lots = Lots(karma, connect((karma.home / "run" / "redis.url").read_text()), prompts)
            lots.measure(counting=True)  # what is done once in a process is done now
            lots.inside_us.clear()
            for number in range(pairs):
                for counts in (True, False) if number % 2 else (False, True):  # neither is always the first
                    (counting if counts else silent).append(lots.measure(counts))
                print(f"{number + 1:>3}: with metrics {counting[-1]:.0f} us, without {silent[-1]:.0f} us", flush=True)
    return counting, silent, lots.inside_us


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.metrics_cost", description=__doc__)
    parser.add_argument("--prompts", type=int, default=2_000, help="of one lot")
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--lots", type=int, default=40, help="half of them with metrics")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    counting, silent, inside = measure(arguments.prompts, arguments.models, arguments.lots // 2)
    none = [0.0] * len(silent)
    added = difference([100 * (one / other - 1) for one, other in zip(counting, silent, strict=True)], none)
    within = difference([100 * one / other for one, other in zip(inside, silent, strict=True)], none)
    figures = {
        "prompts_per_lot": arguments.prompts,
        "models": arguments.models,
        "lots": 2 * len(silent),
        "with_us_per_prompt": round(fmean(counting), 1),
        "without_us_per_prompt": round(fmean(silent), 1),
        "inside_us_per_prompt": round(fmean(inside), 1),
        "inside_percent": round(within.mean, 2),
        "inside_percent_low": round(within.low, 2),
        "inside_percent_high": round(within.high, 2),
        "added_percent": round(added.mean, 2),
        "added_percent_low": round(added.low, 2),
        "added_percent_high": round(added.high, 2),
    }
    for name, value in figures.items():
        print(f"{name:<24} {value:>10,}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
