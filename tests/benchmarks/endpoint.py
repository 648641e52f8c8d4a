"""KARMA beside its rivals at an endpoint that answers after 50 ms: two models, and a judge that sees both orders.

Four calls a prompt, 32 at once of each model, so the judge allows 320 prompts a second. The rivals are the build of a
commit (`--against`), a script of asyncio and aiohttp (`tests/benchmarks/rivals`), and distilabel and Curator where
their environments are given, which do the smallest run alone. All make the same calls for the same prompts, in turn, in
the same minutes. Figures:

- `prompts_per_s_N`: of a run of N prompts, from the start of the command (`karma enqueue --wait`) to its end.
- `cpu_ms_per_call_N`: of all processes, Redis and the command included; of a pipeline that is up, without its start.
- `us_per_prompt_PROCESS`: CPU time of the largest run, by process.
- `judge_slots_N`: the share of the judge's 32 slots in use while the middle half of its calls ended, as the endpoint
  counts it (a call is under way from when it was read to its answer).
- `stored_s`, `command_s`: from a prompt's acceptance, and from the start of `karma enqueue`, to its stored preference,
  on a warm pipeline: medians over single prompts. The store is looked at every 2 ms.
- `memory_mb`: the most proportional set size (PSS) of all processes of `karma up` during the largest run, looked at
  twice a second; `ready_s`: of `karma up`. `others_cores`: what else ran on the machine meanwhile.

`python -m tests.benchmarks.endpoint [--against COMMIT] [--distilabel PYTHON] [--curator PYTHON] [--sizes N …]
[--repetitions R] [--json OUT [--resume]]`
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

from tests.benchmarks import builds
from tests.benchmarks.builds import HERE, ROOT, Build, Running, ledger, one, write_prompts
from tests.benchmarks.processes import ended_cpu_s, peak_memory
from tests.benchmarks.repeated import Figures, alternate, end_in_order, first_to_others, parser, print_table
from tests.support.endpoint import pool
from tests.support.pipeline import wait_until

_AT_ONCE = 32
_CALLS = 4  # a prompt
_MIDDLE = (0.25, 0.75)
_LOOK_S = 0.002
_LIBRARIES = ("distilabel", "curator")


@contextmanager
def endpoint(latency_ms: float) -> Iterator[str]:
    """The URL of an endpoint in a process of its own."""
    command = [sys.executable, "-m", "tests.support.endpoint", "--latency-ms", str(latency_ms)]
    process = subprocess.Popen(command, cwd=ROOT, env=_environment(), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(10)


def _environment() -> dict[str, str]:
    """Of rivals: as that of KARMA, each compiles what it imports once."""
    return {
        **{name: of for name, of in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        "PYTHONPATH": HERE.python_path,
    }


def judge_slots(url: str) -> float:
    """The share of the judge's slots in use in the middle of a run."""
    low, high = _MIDDLE
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/slots?low={low}&high={high}") as answer:
        found: dict[str, float] = json.loads(answer.read())
    return round(next(mean for name, mean in found.items() if name.startswith("judge")) / _AT_ONCE, 4)


def answered(url: str) -> int:
    """Calls that the endpoint answered."""
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/stats") as found:
        return int(json.loads(found.read())["answered"])


def speed(url: str, count: int, seconds: float, cpu_s: float) -> Figures:
    """The figures of a run that every rival has.

    Raises:
        SystemExit: it did not make the calls that were to be made.
    """
    calls = answered(url)
    if calls != _CALLS * count:
        raise SystemExit(f"{calls} calls were answered, expected {_CALLS} a prompt of {count} prompts")
    return {
        f"prompts_per_s_{count}": round(count / seconds, 1),
        f"cpu_ms_per_call_{count}": round(1e3 * cpu_s / calls, 4),
        f"judge_slots_{count}": judge_slots(url),
    }


@dataclass(frozen=True)
class Run:
    """What one run does."""

    prompts: int
    latency_ms: float
    trials: int = 0  # single prompts afterwards
    is_largest: bool = False  # its figures by process, memory and start are told


def run_karma(build: Build, run: Run) -> Figures:
    """A run in a home of its own."""
    count = run.prompts
    with tempfile.TemporaryDirectory(prefix="karma-speed-") as folder, endpoint(run.latency_ms) as url:
        concurrent = pool(url).replace("base_url", f"concurrency = {_AT_ONCE}\nbase_url")
        with builds.up(build, Path(folder) / "home", concurrent) as running:
            prompts = write_prompts(Path(folder) / "prompts.jsonl", count)
            with peak_memory(running.pid) as peak:
                seconds, used = running.measured("enqueue", str(prompts), "--wait", "-q")
            _check(running, count)
            found = speed(url, count, seconds, sum(used.values()))
            if run.is_largest:
                found |= {f"us_per_prompt_{name}": round(1e6 * cpu_s / count, 1) for name, cpu_s in used.items()}
                found |= {"memory_mb": peak.pss_mb, "ready_s": running.ready_s}
                found |= first_preference(running, Path(folder), run.trials)
    return found


def _check(running: Running, count: int) -> None:
    """Every prompt has a preference: the endpoint's judge has no ties."""
    with ledger(running) as connection:
        decisive = one(connection, "SELECT count(*) FROM resolutions WHERE outcome = 'decisive'")
    if decisive != count:
        raise SystemExit(f"{running.build.name}: {decisive} preferences of {count} prompts\n{running.logs()}")


def first_preference(running: Running, folder: Path, trials: int) -> Figures:
    """How long single prompts take on a pipeline that is idle and warm."""
    stored_s, whole_s = [], []
    for trial in range(trials):
        prompts = write_prompts(folder / f"single{trial}.jsonl", 1, first=10_000_000 + trial)
        with ledger(running) as connection:
            accepted, resolved = (
                partial(_exceeds, connection, query, one(connection, query))
                for query in ("SELECT max(id) FROM prompts", "SELECT max(pair) FROM resolutions")
            )
            started = time.monotonic()
            process = subprocess.Popen(
                running.build.command("enqueue", str(prompts), "-q"),
                env=running.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            wait_until(accepted, 60, "a prompt is accepted", _LOOK_S)
            accepted_at = time.monotonic()
            wait_until(resolved, 60, "its preference is stored", _LOOK_S)
            stored_s.append(time.monotonic() - accepted_at)
            whole_s.append(time.monotonic() - started)
            if process.wait(60) != 0:
                raise SystemExit(f"{running.build.name}: karma enqueue failed\n{running.logs()}")
    return {"stored_s": round(median(stored_s), 4), "command_s": round(median(whole_s), 4)} if trials else {}


def _exceeds(connection: object, query: str, before: int) -> bool:
    return one(connection, query) > before  # type: ignore[arg-type]


def run_script(command: list[str], run: Run) -> Figures:
    """A run of another program: it gets the endpoint's URL, a file of prompts and a file for its pairs."""
    count = run.prompts
    with tempfile.TemporaryDirectory(prefix="karma-speed-") as folder, endpoint(run.latency_ms) as url:
        prompts, pairs = write_prompts(Path(folder) / "prompts.jsonl", count), Path(folder) / "pairs.jsonl"
        started, before = time.monotonic(), ended_cpu_s()
        arguments = [*command, url, str(prompts), str(pairs)]
        with (Path(folder) / "log").open("w") as log:
            process = subprocess.Popen(arguments, cwd=ROOT, env=_environment(), stdout=log, stderr=log)
        with peak_memory(process.pid) as peak:
            code = process.wait()
            seconds, cpu_s = time.monotonic() - started, ended_cpu_s() - before
        lines = len(pairs.read_text().splitlines()) if pairs.exists() else 0
        if code != 0 or lines != count:
            said = (Path(folder) / "log").read_text(errors="replace")[-2000:]
            raise SystemExit(f"{command} ended with {code} and {lines} pairs of {count} prompts: {said}")
        found = speed(url, count, seconds, cpu_s)
    return found | ({"memory_mb": peak.pss_mb} if run.is_largest else {})


def run_library(python: str, name: str, smallest: int, run: Run) -> Figures:
    """The smallest run of a library in an environment of its own: it takes minutes for more."""
    if run.prompts != smallest:
        return {}
    return run_script([python, "-m", f"tests.benchmarks.rivals.{name}"], replace(run, is_largest=True))


def main() -> None:
    made = parser("endpoint", __doc__)
    made.add_argument("--against", metavar="COMMIT", help="measure the build of this commit too")
    made.add_argument("--sizes", type=int, nargs="+", default=[1500, 6000], metavar="N", help="prompts of each run")
    made.add_argument("--latency-ms", type=float, default=50.0)
    made.add_argument("--trials", type=int, default=7, help="single prompts on a warm pipeline, in each repetition")
    for name in _LIBRARIES:
        made.add_argument(
            f"--{name}", metavar="PYTHON", help=f"of an environment that has {name}; without it, left out"
        )
    arguments = made.parse_args()
    end_in_order()
    sizes, latency_ms = sorted(arguments.sizes), arguments.latency_ms
    runs = [Run(count, latency_ms, arguments.trials, count == sizes[-1]) for count in sizes]
    with ExitStack() as stack:
        compared = [HERE, *([stack.enter_context(builds.checkout(arguments.against))] if arguments.against else [])]
        rivals: dict[str, Callable[[Run], Figures]] = {build.name: partial(run_karma, build) for build in compared}
        rivals["script"] = partial(run_script, [sys.executable, "-m", "tests.benchmarks.rivals.script"])
        for name in _LIBRARIES:
            if python := getattr(arguments, name):
                rivals[name] = partial(run_library, python, name, sizes[0])
            else:
                print(f"{name} is left out: name the Python of an environment that has it (--{name} PYTHON)")
        setting = {"sizes": sizes, "latency_ms": latency_ms, "at_once": _AT_ONCE, "trials": arguments.trials}
        pairs = first_to_others(list(rivals))
        print_table(alternate(rivals, runs, arguments, setting, pairs), pairs)


if __name__ == "__main__":
    main()
