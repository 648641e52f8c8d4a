"""A long ledger: many prompts are accepted while no worker but a gateway runs; then the workers start.

Prints Redis' memory, the rate and the CPU time a prompt of the first prompts of a long ledger, against the same
number of prompts in an empty one, and how far the order of acceptance was kept.
`python -m tests.benchmarks.million [--accepted N] [--measured M] [--rounds R] [--database …] [--json OUT]`
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import create_engine, text

from karma.queue.heartbeats import workers
from karma.store import Store
from karma_gateway.ingest import Line, take
from tests.benchmarks.processes import cpu_s
from tests.support.databases import database
from tests.support.instant import pool
from tests.support.pipeline import Pipeline, wait_until
from tests.support.redis_server import Redis

_AT_ONCE = 2000
_OPEN = 1024  # responses of one model that may be open at once: it bounds what is in flight here


def accept(url: str, count: int) -> float:
    """Accept prompts at the door; returns how many a second."""
    store, started = Store(url, durability="full"), time.monotonic()
    for start in range(0, count, _AT_ONCE):
        lines = [
            Line("million", n, json.dumps({"id": f"q{n}", "prompt": f"What is {n}?"}).encode())
            for n in range(start, min(count, start + _AT_ONCE))
        ]
        receipt = take(store, "default", lines, max_bytes=1 << 20)
        assert receipt.accepted == len(lines)
    store.close()
    return count / (time.monotonic() - started)


@contextmanager
def running(karma: Pipeline, redis: Redis, *services: str) -> Iterator[list[int]]:
    """Workers by themselves; yields their process ids once all are ready."""
    names = {"generation": ["m0,m1"], "judging": ["j"]}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "karma.run", service, *names.get(service, [])],
            env=karma.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for service in services
    ]
    pids = [process.pid for process in processes]
    try:
        wait_until(lambda: set(pids) <= {info.pid for info in workers(redis.client)}, 60, "all are ready")
        yield pids
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(30)


def measure(accepted: int, measured: int, kind: str) -> dict[str, Any]:
    """One run on a ledger of its own."""
    with tempfile.TemporaryDirectory() as folder:
        home, redis = Path(folder) / "home", Redis(Path(folder) / "redis")
        redis.start()
        with database(kind, home) as url:
            karma = Pipeline(home, pool(2), "tests.support.instant", url, redis.url)
            rate = accept(url, accepted)
            with running(karma, redis, "gateway") as gateway:
                wait_until(lambda: _count(url, "work_items") >= 2 * _OPEN, 120, "what may be is in flight")
                memory = max(redis.client.info("memory")["used_memory"] for _look in range(10))
                with running(karma, redis, "generation", "scoring", "matching", "judging") as others:
                    wait_until(lambda: _count(url, "resolutions") >= measured // 10, 120, "it runs")
                    begun, before, started = _count(url, "resolutions"), cpu_s(gateway + others), time.monotonic()
                    wait_until(lambda: _count(url, "resolutions") >= measured, 600, "it is measured")
                    seconds, ended = time.monotonic() - started, _count(url, "resolutions")
                    used = cpu_s(gateway + others) - before
                    farthest = _one(url, "SELECT max(prompt) FROM resolutions")
                memory = max(memory, redis.client.info("memory")["used_memory_peak"])
        redis.stop()
    return {
        "accepted": accepted,
        "accepted_per_s": round(rate),
        "redis_mb": round(memory / 1e6, 1),
        "prompts_per_s": round((ended - begun) / seconds, 1),
        "cpu_us_per_prompt": round(1e6 * used / (ended - begun)),
        "ahead_of_order": max(0, farthest - ended),  # how many prompts behind the farthest one are not resolved yet
    }


def _count(url: str, table: str) -> int:
    return _one(url, f"SELECT count(*) FROM {table}")


def _one(url: str, query: str) -> int:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        found = int(connection.execute(text(query)).scalar_one() or 0)
    engine.dispose()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.million", description=__doc__)
    parser.add_argument("--accepted", type=int, default=1_000_000)
    parser.add_argument("--measured", type=int, default=8_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    runs: dict[str, list[dict[str, Any]]] = {"empty": [], "long": []}
    for _round in range(arguments.rounds):
        for name, accepted in (("empty", arguments.measured + _OPEN), ("long", arguments.accepted)):
            runs[name].append(measure(accepted, arguments.measured, arguments.database))
            print(name, runs[name][-1], flush=True)

    def middle(name: str, figure: str) -> float:
        return median(run[figure] for run in runs[name])

    figures = {
        "rate_ratio": round(middle("long", "prompts_per_s") / middle("empty", "prompts_per_s"), 3),
        "cpu_ratio": round(middle("long", "cpu_us_per_prompt") / middle("empty", "cpu_us_per_prompt"), 3),
        "redis_most_mb": max(run["redis_mb"] for run in runs["long"]),
        "ahead_of_order_most": max(run["ahead_of_order"] for run in runs["long"]),
    }
    for name, value in figures.items():
        print(f"{name:<24} {value:>10}")
    if arguments.json:
        arguments.json.write_text(json.dumps({**figures, "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
