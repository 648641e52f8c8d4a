"""The pipeline's own cost: prompts through models and a judge that answer at once.

K models answer every prompt and the judge sees one pair of it in one order, so that nothing is waited for. Measured
from the start of `karma enqueue --wait` to its end: prompts a second, and CPU microseconds a prompt of all processes,
by process; `workers` are those of the pipeline, `all` also the command, Redis and PostgreSQL. The number of models
varies at 32 items a message, and the items of a message at 4 models (the nearest that are measured).

`python -m tests.benchmarks.overhead [--against COMMIT] [--models K …] [--batches B …] [--databases NAME …]
[--prompts N] [--repetitions R] [--json OUT [--resume]]`
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.benchmarks import builds
from tests.benchmarks.builds import HERE, Build, write_prompts
from tests.benchmarks.repeated import Figures, alternate, end_in_order, first_to_others, parser, print_table
from tests.support.databases import another_database, server
from tests.support.instant import pool
from tests.support.postgresql import PostgreSQL

_BESIDES = ("supervisor", "enqueue", "redis", "postgresql")  # whatever else runs is a worker
_MODELS, _BATCH = 4, 32  # the others vary around these


@dataclass(frozen=True)
class Run:
    """One run."""

    prompts: int
    models: int
    batch: int
    postgresql: PostgreSQL | None = None

    @property
    def title(self) -> str:
        return f"{'postgresql' if self.postgresql else 'sqlite'} K={self.models} batch={self.batch}"


def runs(prompts: int, models: list[int], batches: list[int], databases: list[PostgreSQL | None]) -> list[Run]:
    """Every number of models at the usual batch, and every batch with the usual number of models."""
    usual_models, usual_batch = (
        min(found, key=lambda value: (abs(value - usual), value))
        for found, usual in ((models, _MODELS), (batches, _BATCH))
    )
    pairs = [*((count, usual_batch) for count in models), *((usual_models, batch) for batch in batches)]
    return [Run(prompts, *pair, database) for database in databases for pair in dict.fromkeys(pairs)]


def measure(build: Build, run: Run, variables: Mapping[str, str] | None = None) -> Figures:
    """A run in a home and a database of its own; `variables` join its environment."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="karma-speed-")))
        given, servers = {"KARMA_PLUGINS": "tests.support.instant", **(variables or {})}, ()
        if run.postgresql is not None:
            given["KARMA_DATABASE_URL"] = stack.enter_context(another_database(run.postgresql))
            servers = (run.postgresql.pid,)
        prompts = write_prompts(folder / "prompts.jsonl", run.prompts)
        running = stack.enter_context(builds.up(build, folder / "home", pool(run.models, run.batch), given, servers))
        seconds, used = running.measured("enqueue", str(prompts), "--wait", "-q")
    return {
        f"{run.title} prompts_per_s": round(run.prompts / seconds, 1),
        **{f"{run.title} {name}": value for name, value in costs(used, run.prompts).items()},
    }


def costs(used_s: Mapping[str, float], prompts: int) -> Figures:
    """CPU microseconds a prompt: of all processes, of the workers, and by process."""
    workers_s = sum(cpu_s for name, cpu_s in used_s.items() if name not in _BESIDES)
    parts = {"all": sum(used_s.values()), "workers": workers_s, **used_s}
    return {f"us {name}": round(1e6 * cpu_s / prompts, 1) for name, cpu_s in parts.items()}


def main() -> None:
    made = parser("overhead", __doc__)
    made.add_argument("--against", metavar="COMMIT", help="measure the build of this commit too")
    made.add_argument("--prompts", type=int, default=4000)
    made.add_argument("--models", type=int, nargs="+", default=[2, 4, 8], metavar="K")
    made.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32, 128], metavar="B")
    names = ["sqlite", "postgresql"]
    made.add_argument("--databases", nargs="+", choices=names, default=names, metavar="NAME")
    arguments = made.parse_args()
    end_in_order()
    with ExitStack() as stack:
        compared = [HERE, *([stack.enter_context(builds.checkout(arguments.against))] if arguments.against else [])]
        postgresql = stack.enter_context(server()) if "postgresql" in arguments.databases else None
        databases = [None if name == "sqlite" else postgresql for name in arguments.databases]
        planned = runs(arguments.prompts, arguments.models, arguments.batches, databases)
        rivals = {build.name: partial(measure, build) for build in compared}
        setting = {"prompts": arguments.prompts, "runs": [run.title for run in planned]}
        pairs = first_to_others(list(rivals))
        print_table(alternate(rivals, planned, arguments, setting, pairs), pairs)


if __name__ == "__main__":
    main()
