"""What signing costs: the CPU time that a pipeline spends on signatures, of the CPU time of all its workers.

`python -m tests.benchmarks.signing [--prompts N] [--models K] [--rounds R]`: models and a judge that answer at once, so
that there is nothing but the pipeline's own cost. Every process measures what it spends in `Keyring.seal`, `open` and
`token`, the measuring included. Runs with and without a key, in turn, differ by less than their noise.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from statistics import fmean

from tests.benchmarks.builds import HERE
from tests.benchmarks.overhead import Run, measure

#: Runs at the start of every process whose PYTHONPATH has its folder; writes what it measured at the process' end.
_MEASURING = """
import atexit, json, os, threading, time
from karma.messages import signing

spent, calls, lock = [0], [0], threading.Lock()

def measured(method):
    def call(*arguments):
        began = time.thread_time_ns()
        try:
            return method(*arguments)
        finally:
            with lock:
                spent[0] += time.thread_time_ns() - began
                calls[0] += 1
    return call

for name in ("seal", "open", "token"):
    setattr(signing.Keyring, name, measured(getattr(signing.Keyring, name)))

def write():
    if calls[0]:
        with open(f"{os.path.dirname(__file__)}/out/{os.getpid()}.json", "w") as out:
            json.dump({"ns": spent[0], "calls": calls[0]}, out)

atexit.register(write)
"""


def run(prompts: int, models: int) -> dict[str, float]:
    """One run: microseconds of CPU a prompt, of signatures and of all."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "sitecustomize.py").write_text(_MEASURING)
        out = Path(folder) / "out"
        out.mkdir()
        asked = Run(prompts, models, batch=32)
        whole = measure(HERE, asked, {"PYTHONPATH": os.pathsep.join((folder, HERE.python_path))})
        found = [json.loads(path.read_text()) for path in out.iterdir()]
    all_us = whole[f"{asked.title} us workers"]
    signing_us = sum(each["ns"] for each in found) / 1000 / prompts
    return {
        "all_us": all_us,
        "signing_us": round(signing_us, 1),
        "calls_a_prompt": round(sum(each["calls"] for each in found) / prompts, 2),
        "processes": len(found),
        "percent": round(100 * signing_us / all_us, 2),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=5000)
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    found = []
    for _round in range(arguments.rounds):
        found.append(run(arguments.prompts, arguments.models))
        print(json.dumps(found[-1]), flush=True)
    print(json.dumps({"percent": round(fmean(one["percent"] for one in found), 2)}))


if __name__ == "__main__":
    main()
