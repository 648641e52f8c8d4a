"""Local models in a running pipeline: tokens a CPU-second of the generation worker, and whether a run repeats itself.

Each run starts `karma up` in a home of its own with two checkpoints of the demo and the likelihood judge, and the same
prompts, plan and seeds. A few prompts first have everything loaded; then the worker's CPU time is taken over all
others. Before and after each run, a bare loop over `generate` answers the same prompts with the same models in this
process; both have one CPU thread. Prints the ratio (KARMA / bare) and what differs between the runs: texts of
responses, and probabilities of verdicts. Batches are those that the pipeline forms; `tests.benchmarks.local` holds them
equal. `python -m tests.benchmarks.local_runs [--prompts N] [--batch B] [--runs R] [--json OUT]`
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from sqlalchemy import func, select

from karma.messages import GenerateBatch, GenerateItem, Turn
from karma.seeds import seed_of
from karma.store import Store
from karma.store.schema import pairs, prompts, responses, verdicts
from karma_demo.family import JUDGE, checkpoint_path
from karma_demo.tasks import tasks
from tests.benchmarks.local import HEADER, MODEL, OTHER, Bare, bare_generation, spec
from tests.benchmarks.processes import cpu_s
from tests.support.pipeline import Pipeline, wait_until

MODELS = (MODEL, OTHER)

#: Responses by (prompt, model), and by prompt P(the answer of `MODEL` is better).
Results = tuple[dict[Any, str], dict[Any, float]]


def pool(batch: int) -> str:
    """Two models that answer every prompt, and one judge of all pairs."""
    models = "".join(
        f"""
[models.{name}]
backend = "transformers"
model = "{checkpoint_path(name)}"
temperature = 0.7
max_tokens = 48
on_length = "keep"
concurrency = {batch}
"""
        for name in MODELS
    )
    return f"""
[stream]
goal = "label"
policy = "random"
{models}
[judges.likelihood]
kind = "likelihood"
scale = 0.1
[judges.likelihood.model]
backend = "transformers"
model = "{checkpoint_path(JUDGE)}"
concurrency = {batch}
[pipeline]
batch_items = {batch}
"""


def answered(store: Store) -> tuple[int, int]:
    """Responses so far, and their tokens."""
    with store.reading() as transaction:
        query = select(func.count(), func.coalesce(func.sum(responses.c.tokens_out), 0))
        count, tokens = transaction.ledger.connection.execute(query).one()
    return int(count), int(tokens)


def results(store: Store) -> Results:
    """What a run came to."""
    with store.reading() as transaction:
        connection = transaction.ledger.connection
        texts = select(prompts.c.prompt_id, responses.c.model, responses.c.text).join(
            responses, responses.c.prompt == prompts.c.id
        )
        said = (
            select(prompts.c.prompt_id, responses.c.model, verdicts.c.shown, verdicts.c.probability)
            .select_from(verdicts.join(pairs, pairs.c.id == verdicts.c.pair))
            .join(responses, responses.c.id == pairs.c.response_a)
            .join(prompts, prompts.c.id == pairs.c.prompt)
        )
        return (
            {(row.prompt_id, row.model): row.text for row in connection.execute(texts)},
            {  # that the answer of MODEL is better: which response is the pair's first depends on who answered first
                row.prompt_id: row.probability if (row.model == MODEL) == (row.shown == 0) else 1 - row.probability
                for row in connection.execute(said)
                if row.probability is not None
            },
        )


def run(count: int, batch: int) -> tuple[float, Results]:
    """One run: tokens a CPU-second of the generation worker, and its results."""
    with tempfile.TemporaryDirectory() as folder:
        karma = Pipeline(Path(folder), pool(batch))
        karma.environment["OMP_NUM_THREADS"] = "1"
        asked = [{"id": f"{n}", "prompt": task.prompt} for n, task in enumerate(tasks("demo", count, 0))]
        warm = [{"id": f"warm {n}", "prompt": task.prompt} for n, task in enumerate(tasks("demo", batch, 1))]
        with karma.up():
            store = Store(karma._found().database)
            try:
                karma.enqueue(warm)
                wait_until(lambda: karma.status()["prompts"]["done"] == batch, 300, "everything is loaded", 0.2)
                pids = [info.pid for info in karma.workers("generation")]
                (_, before), cpu = answered(store), cpu_s(pids)
                karma.enqueue(asked)
                total = (count + batch) * len(MODELS)
                wait_until(lambda: answered(store)[0] == total, 300, "all are answered", 0.05)
                cpu, (_, after) = cpu_s(pids) - cpu, answered(store)
                wait_until(lambda: karma.status()["prompts"]["done"] == count + batch, 300, "all are done", 0.2)
                return (after - before) / cpu, results(store)
            finally:
                store.close()


def bare(count: int, batch: int, loaded: dict[str, Bare]) -> float:
    """Tokens a CPU-second of the bare loop over the same prompts, both models in turn."""
    items = [
        GenerateItem(n, n, 0, seed_of("local", n), (Turn("user", task.prompt),))
        for n, task in enumerate(tasks("demo", count, 0))
    ]
    parts = [tuple(items[start : start + batch]) for start in range(0, count, batch)]
    cpu, tokens = time.process_time(), 0
    for name in MODELS:
        messages = [GenerateBatch(header=HEADER, model=name, specification="f", items=part) for part in parts]
        tokens += bare_generation(loaded[name], messages, spec(name, concurrency=batch))[0]
    return tokens / (time.process_time() - cpu)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.local_runs", description=__doc__)
    parser.add_argument("--prompts", type=int, default=512)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    loaded = {name: Bare(name) for name in MODELS}
    bare(arguments.batch, arguments.batch, loaded)  # warm
    speeds, bares, found = [], [], []
    for number in range(arguments.runs):
        before = bare(arguments.prompts, arguments.batch, loaded)
        speed, result = run(arguments.prompts, arguments.batch)
        bares.append((before + bare(arguments.prompts, arguments.batch, loaded)) / 2)
        speeds.append(speed)
        found.append(result)
        ratio = speed / bares[-1]
        print(f"run {number + 1}: {speed:,.0f} tokens/CPU-s; bare {bares[-1]:,.0f}; ratio {ratio:.3f}", flush=True)
    ratios = [speed / other for speed, other in zip(speeds, bares, strict=True)]
    texts, said = found[0]
    same = [sum(texts[key] == other[key] for key in texts) / len(texts) for other, _ in found[1:]]
    apart = [max(abs(said[key] - other[key]) for key in said.keys() & other.keys()) for _, other in found[1:]]
    figures = {
        "prompts": arguments.prompts,
        "batch": arguments.batch,
        "ratio": round(fmean(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "responses": len(texts),
        "verdicts": len(said),
        "same_responses": [round(share, 4) for share in same],
        "largest_difference_of_verdicts": apart,
    }
    print(json.dumps(figures, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
