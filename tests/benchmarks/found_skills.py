"""How well skills are found in prompts without a label, in which order they may come, and what it costs.

Unlabelled prompts of the tiny family (six skills, four ways to ask each) go through the product's own finder with the
bundled embedder, for several seeds and four orders: mixed or sorted by skill, and all in the store from the start or
coming batch by batch. Prints the adjusted Rand index of the skills found against those that the prompts were made of.
The same for the AlpacaEval prompts against the data sets that they come from, where KARMA_BENCH_DATA or --prompts names
a folder with prompts*.parquet.
`python -m tests.benchmarks.found_skills [--seeds N] [--prompts DIR] [--json OUT]`
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.metrics import adjusted_rand_score
from sqlalchemy import select

from karma.store import Store, skills
from karma.store.schema import prompts as prompts_table
from karma_demo.tasks import tasks
from karma_gateway.ingest import Line, take
from karma_scoring.skill_discovery.embedding import Embedder
from karma_scoring.skill_discovery.skill_finder import SkillFinder

BATCH = 32
PROMPTS = 600
ORDERS = ("mixed, all there", "mixed, as they come", "by skill, all there", "by skill, as they come")


@dataclass(frozen=True)
class Prompt:
    text: str
    skill: str


class Cached:
    """An embedder that embeds each text once and measures the CPU time that it takes."""

    def __init__(self) -> None:
        self._embedder = Embedder()
        self._known: dict[str, np.ndarray] = {}
        self.dimensions = self._embedder.dimensions
        self.asked_for = 0

    def warm(self, texts: Sequence[str]) -> float:
        """Embed all; texts embedded a CPU-second."""
        started = time.process_time()
        for start in range(0, len(texts), BATCH):
            batch = texts[start : start + BATCH]
            self._known.update(zip(batch, self._embedder.embed(batch), strict=True))
        return len(texts) / (time.process_time() - started)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        self.asked_for += len(texts)
        missing = [text for text in texts if text not in self._known]
        if missing:
            self._known.update(zip(missing, self._embedder.embed(missing), strict=True))
        return np.stack([self._known[text] for text in texts])


def ordered(prompts: Sequence[Prompt], order: str, seed: int) -> list[Prompt]:
    mixed = random.Random(seed).sample(prompts, len(prompts))
    return sorted(mixed, key=lambda one: one.skill) if order.startswith("by skill") else mixed


def measure(prompts: Sequence[Prompt], order: str, embedder: Cached) -> dict[str, float]:
    """Send prompts through the finder as the scoring worker does, each batch once for each of two models."""
    store = Store("sqlite://")
    store.create()
    finder = SkillFinder(store, embedder.embed, embedder.dimensions)
    asked_before, spent = embedder.asked_for, 0.0
    places = range(0, len(prompts), BATCH)
    if order.endswith("all there"):
        _accept(store, prompts, 0)
    for start in places:
        if order.endswith("as they come"):
            _accept(store, prompts[start : start + BATCH], start)
        ids = list(range(start + 1, min(start + BATCH, len(prompts)) + 1))
        for _model in range(2):
            began = time.process_time()
            finder.find("default", ids)
            spent += time.process_time() - began
    with store.reading() as transaction:
        connection = transaction.ledger.connection
        found = [skill or "" for (skill,) in connection.execute(select(prompts_table.c.skill).order_by("id"))]
        alive = sum(one.weight > 0 for one in skills.clusters(connection, "default"))
    store.close()
    return {
        "adjusted_rand_index": float(adjusted_rand_score([one.skill for one in prompts], found)),
        "skills": alive,
        "without": found.count("") / len(found),
        "embedded_per_prompt": (embedder.asked_for - asked_before) / len(prompts),
        "finder_ms_per_prompt": 1000 * spent / len(prompts),
    }


def _accept(store: Store, prompts: Sequence[Prompt], first: int) -> None:
    lines = [
        Line("benchmark", first + place, json.dumps({"id": f"p{first + place}", "prompt": one.text}).encode())
        for place, one in enumerate(prompts)
    ]
    if take(store, "default", lines, max_bytes=1 << 20).refused:
        raise SystemExit("a prompt was refused")


def tiny(seed: int) -> list[Prompt]:
    return [Prompt(task.prompt, task.skill) for task in tasks("demo", PROMPTS, seed)]


def recorded(folder: Path) -> list[Prompt]:
    """The prompts of a folder with the data sets that they come from."""
    import pyarrow.parquet as pq

    columns = ["prompt", "source_dataset"]
    rows = [
        row
        for file in sorted(folder.glob("prompts*.parquet"))
        for row in pq.read_table(file, columns=columns).to_pylist()
    ]
    return [Prompt(row["prompt"], row["source_dataset"]) for row in rows]


def report(name: str, sets: Sequence[list[Prompt]], embedder: Cached) -> dict[str, object]:
    rate = embedder.warm([one.text for prompts in sets for one in prompts])
    print(f"{name}: {rate:.0f} prompts embedded a CPU-second")
    columns = ("index", "least", "skills", "without", "embedded", "ms a prompt")
    print(f"  {'order':<24}" + "".join(f"{column:>12}" for column in columns))
    figures: dict[str, object] = {"embedded_per_cpu_s": rate}
    for order in ORDERS:
        runs = [measure(ordered(prompts, order, seed), order, embedder) for seed, prompts in enumerate(sets)]
        mean = {key: statistics.mean(run[key] for run in runs) for key in runs[0]}
        least = min(run["adjusted_rand_index"] for run in runs)
        figures[order] = {**mean, "least_adjusted_rand_index": least, "runs": runs}
        print(
            f"  {order:<24}{mean['adjusted_rand_index']:>12.3f}{least:>12.3f}{mean['skills']:>12.1f}"
            f"{mean['without']:>12.1%}{mean['embedded_per_prompt']:>12.2f}{mean['finder_ms_per_prompt']:>12.2f}"
        )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.found_skills", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="sets of 600 prompts (default: 10)")
    parser.add_argument("--prompts", type=Path, metavar="DIR", help="recorded prompts (default: KARMA_BENCH_DATA)")
    parser.add_argument("--json", type=Path, metavar="OUT")
    arguments = parser.parse_args()
    embedder = Cached()
    embedder.warm(["one", "two"])
    figures = {"tiny family": report("tiny family", [tiny(seed) for seed in range(arguments.seeds)], embedder)}
    folder = arguments.prompts or (Path(os.environ["KARMA_BENCH_DATA"]) if "KARMA_BENCH_DATA" in os.environ else None)
    if folder is not None:
        figures["AlpacaEval"] = report("AlpacaEval", [recorded(folder)] * 3, embedder)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
