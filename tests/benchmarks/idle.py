"""What an idle pipeline costs: everything is up, nothing is to be done.

Prints the share of one core of every process, and of all together.
`python -m tests.benchmarks.idle [--seconds S] [--database sqlite|postgresql] [--json OUT]`
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from karma.queue.heartbeats import workers
from karma.queue.redis import connect
from tests.acceptance.chaos import pool
from tests.benchmarks.processes import cpu_s
from tests.support.databases import database
from tests.support.pipeline import Pipeline

_SETTLE_S = 10.0


def measure(seconds: float, kind: str) -> dict[str, float]:
    """Per cent of one core, per process."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        with database(kind, home) as url:
            karma = Pipeline(home, pool("http://127.0.0.1:9/v1", ""), database_url=url)
            with karma.up():
                run = karma.home / "run"
                pids = {info.service: info.pid for info in workers(connect((run / "redis.url").read_text()))}
                pids |= {name: int((run / f"{name}.pid").read_text()) for name in ("redis", "supervisor")}
                time.sleep(_SETTLE_S)
                before = {name: cpu_s([pid]) for name, pid in pids.items()}
                time.sleep(seconds)
                used = {name: cpu_s([pid]) - before[name] for name, pid in pids.items()}
    shares = {f"{name}_percent": round(100 * spent / seconds, 2) for name, spent in used.items()}
    return {**shares, "all_percent": round(100 * sum(used.values()) / seconds, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.idle", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    figures = measure(arguments.seconds, arguments.database)
    for name, value in figures.items():
        print(f"{name:<24} {value:>8}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
