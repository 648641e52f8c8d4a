"""The pipeline's own cost: prompts through models and a judge that answer at once.

Prints prompts a second, from `karma enqueue` to the last resolution, and the CPU time of all workers a prompt.
`python -m tests.benchmarks.throughput [--prompts N] [--models K] [--json OUT]`
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from karma.config.environment import Environment
from karma.queue.heartbeats import workers
from karma.queue.redis import connect
from tests.benchmarks.processes import cpu_s
from tests.support.pipeline import Pipeline


def pool(models: int) -> str:
    """K models that answer every prompt and one judge that sees one order, all instant."""
    parts = ['[pipeline]\nwindow = 4096\n[stream]\ngoal = "label"\nresponses_per_prompt = 0\n']
    parts += [f'[models.m{n}]\nbackend = "instant"\nmodel = "m{n}"\n' for n in range(models)]
    parts.append('[judges.j]\nkind = "instant"\nboth_orders = false\n')
    return "".join(parts)


def measure(prompts: int, models: int, variables: Mapping[str, str] | None = None) -> dict[str, float]:
    """One run in a home of its own; `variables` join its environment."""
    with tempfile.TemporaryDirectory() as folder:
        karma = Pipeline(Path(folder), pool(models), plugins="tests.support.instant")
        karma.environment |= variables or {}
        lines = "".join(json.dumps({"id": f"q{n}", "prompt": f"What is {n}?"}) + "\n" for n in range(prompts))
        with karma.up():
            redis = connect(Environment.read(karma.environment).broker_url())
            alive = workers(redis)
            pids = [info.pid for info in alive]
            before, started = cpu_s(pids), time.monotonic()
            karma.run("enqueue", "-", "--wait", text=lines)
            elapsed = time.monotonic() - started
            used = cpu_s(pids) - before
            status = karma.status()
    if status["prompts"]["done"] != prompts:
        raise SystemExit(f"not every prompt is done: {status}")
    return {
        "prompts": prompts,
        "models": models,
        "elapsed_s": round(elapsed, 2),
        "prompts_per_s": round(prompts / elapsed, 1),
        "cpu_us_per_prompt": round(1e6 * used / prompts),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.throughput", description=__doc__)
    parser.add_argument("--prompts", type=int, default=10_000)
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    figures = measure(arguments.prompts, arguments.models)
    for name, value in figures.items():
        print(f"{name:<20} {value:>12,}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
