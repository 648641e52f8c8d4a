"""What further workers of a stage bring where its models are waited for: 1, 2, 4 and 8 of them.

A message of two items takes the judge, or one of the two models, a second without CPU time, a worker processes eight of
them at once, and everything else answers at once: the stage is the bottleneck, and the machine is not. Prompts are in
proportion to the workers; `per_s` is the rate at which the middle half of them was resolved. Ratios are those to one
worker.

`python -m tests.benchmarks.workers [--counts N …] [--stages NAME …] [--repetitions R] [--json OUT [--resume]]`
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from tests.benchmarks.builds import write_prompts
from tests.benchmarks.repeated import Figures, alternate, end_in_order, parser, print_table
from tests.support.instant import SLOW_S, pool
from tests.support.pipeline import Pipeline

_ITEMS = 2  # a message
_AT_ONCE = 8  # messages that a worker processes at once
_SLOW = {"generation": '[models.m0]\nbackend = "instant"', "judging": '[judges.j]\nkind = "instant"'}
_OPTIONS = {"generation": ("--models", "m0,m1"), "judging": ("--judges", "j")}


def slow_pool(stage: str) -> str:
    """A pool whose judge, or one of whose two models, is waited for."""
    table = _SLOW[stage]
    return pool(2, _ITEMS).replace(table, table.replace("instant", "slow"))


def middle_rate(times: Sequence[float]) -> float:
    """How many a second there were in the middle half, by when each was."""
    ordered = sorted(times)
    low, high = len(ordered) // 4, 3 * len(ordered) // 4
    return (high - low) / (ordered[high] - ordered[low])


def measure(count: int, seconds: float, stage: str) -> Figures:
    """A run with so many workers of a stage."""
    with tempfile.TemporaryDirectory(prefix="karma-workers-") as folder:
        karma = Pipeline(Path(folder) / "home", slow_pool(stage), plugins="tests.support.instant")
        prompts = write_prompts(Path(folder) / "prompts.jsonl", round(count * seconds * _AT_ONCE * _ITEMS / SLOW_S))
        with karma.up():
            karma.start_workers(stage, count - 1, *_OPTIONS[stage])
            karma.run("enqueue", str(prompts), "--wait", "-q")
            with closing(sqlite3.connect(karma.home / "karma.db")) as connection:
                times = [at for (at,) in connection.execute("SELECT resolved_at FROM resolutions")]
    return {f"{stage} per_s": round(middle_rate(times), 2)}


def main() -> None:
    made = parser("workers", __doc__)
    made.add_argument("--counts", type=int, nargs="+", default=[1, 2, 4, 8], metavar="N")
    stages = ["generation", "judging"]
    made.add_argument("--stages", nargs="+", choices=stages, default=stages, metavar="NAME")
    made.add_argument("--seconds", type=float, default=10.0, help="that a run takes, about (default: 10)")
    arguments = made.parse_args()
    end_in_order()
    counts = sorted(arguments.counts, reverse=True)
    rivals = {f"{count}": partial(measure, count, arguments.seconds) for count in counts}
    setting = {"counts": counts, "items": _ITEMS, "seconds": arguments.seconds, "seconds_of_a_message": SLOW_S}
    pairs = [(name, list(rivals)[-1]) for name in list(rivals)[:-1]]
    print_table(alternate(rivals, arguments.stages, arguments, setting, pairs), pairs)


if __name__ == "__main__":
    main()
