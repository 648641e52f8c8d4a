"""Enqueues prompts from one Parquet file into SQLite: prompts a second, peak memory, and a run that is killed at half.

Prints the rate of `karma enqueue` with its start, the most memory that it held, and how many prompts the store has
after a run that was killed with SIGKILL at half and was run again.
`python -m tests.benchmarks.enqueue [--prompts N] [--rounds R] [--json OUT]`
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow
import pyarrow.parquet as parquet

_ROWS_AT_ONCE = 20_000
_WORDS = ("why", "does", "the", "river", "sort", "these", "numbers", "explain", "briefly", "in", "Python", "a", "poem")


def write(path: Path, prompts: int) -> None:
    """A file of prompts of 60 to 600 characters with two columns of metadata, without ids."""
    draw = random.Random(0)
    schema = pyarrow.schema({"prompt": pyarrow.string(), "source": pyarrow.string(), "tokens": pyarrow.int64()})
    with parquet.ParquetWriter(path, schema) as writer:
        for start in range(0, prompts, _ROWS_AT_ONCE):
            numbers = range(start, min(prompts, start + _ROWS_AT_ONCE))
            texts = [f"{n}: {' '.join(draw.choices(_WORDS, k=draw.randrange(10, 100)))}" for n in numbers]
            columns = {"prompt": texts, "source": ["web"] * len(texts), "tokens": [len(text) // 4 for text in texts]}
            writer.write_table(pyarrow.table(columns, schema=schema))


def start(home: Path, path: Path) -> subprocess.Popen[bytes]:
    """`karma enqueue` into a home."""
    environment = {**os.environ, "KARMA_HOME": str(home)}
    command = [sys.executable, "-m", "karma_cli", "enqueue", str(path), "-q"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


def measure(folder: Path, path: Path, prompts: int) -> dict[str, Any]:
    """One whole run."""
    process, began = start(folder, path), time.monotonic()
    _pid, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    assert status == 0 and count(folder) == prompts
    return {
        "prompts_per_s": round(prompts / seconds),
        "cpu_us_per_prompt": round(1e6 * (usage.ru_utime + usage.ru_stime) / prompts, 1),
        "peak_mb": round(usage.ru_maxrss / 1024, 1),
    }


def killed_at_half(folder: Path, path: Path, prompts: int) -> tuple[int, int]:
    """The prompts in the store when it was killed, and after it was run again."""
    process = start(folder, path)
    while count(folder) < prompts // 2:
        assert process.poll() is None, "it ended before it was killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = count(folder)
    assert start(folder, path).wait() == 0
    return before, count(folder)


def count(folder: Path) -> int:
    """The prompts of a store, by the newest id: ids are given without gaps, and counting a million takes long."""
    if not (folder / "karma.db").exists():
        return 0
    try:
        with sqlite3.connect(f"file:{folder}/karma.db?mode=ro", uri=True) as connection:
            return int(connection.execute("SELECT coalesce(max(id), 0) FROM prompts").fetchone()[0])
    except sqlite3.OperationalError:  # its tables are being made
        return 0


def exact(folder: Path) -> tuple[int, int]:
    """Rows and different ids."""
    with sqlite3.connect(folder / "karma.db") as connection:
        return connection.execute("SELECT count(*), count(DISTINCT prompt_id) FROM prompts").fetchone()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.enqueue", description=__doc__)
    parser.add_argument("--prompts", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prompts.parquet"
        write(path, arguments.prompts)
        runs = []
        for place in range(arguments.rounds):
            runs.append(measure(Path(folder) / f"home{place}", path, arguments.prompts))
            print(runs[-1], flush=True)
        killed = Path(folder) / "killed"
        before, _after = killed_at_half(killed, path, arguments.prompts)
        rows, different = exact(killed)
    figures = {
        "prompts": arguments.prompts,
        "prompts_per_s": median(run["prompts_per_s"] for run in runs),
        "cpu_us_per_prompt": median(run["cpu_us_per_prompt"] for run in runs),
        "peak_mb": max(run["peak_mb"] for run in runs),
        "killed_at": before,
        "after_the_rerun": rows,
        "different_ids": different,
    }
    for name, value in figures.items():
        print(f"{name:<20} {value:>12,}")
    if arguments.json:
        arguments.json.write_text(json.dumps({**figures, "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
