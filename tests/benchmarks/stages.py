"""CPU of each stage's own work: the handlers of one process on a real store, without Redis, Celery or other processes.

K models answer every prompt at once, and a judge sees each pair in one order. Figures are microseconds of CPU a prompt:
`ingest`, `dispatch` (planning and opening work), `compose` (messages from the store), `mark`, and the transactions of
`score`, `match` and `learn`. What lies around them (messages, claims, processes) is in `overhead`.

`python -m tests.benchmarks.stages [--prompts N] [--models K] [--items B] [--goal GOAL] [--url URL] [--profile STAGE]
[--json OUT]`
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from karma.messages import GenerateBatch, JudgeBatch
from karma.queue.outbox import compose
from karma.store import Store
from karma_gateway.ingest import Line, take
from tests.support.memory import Flow, make_pool

_LINES_AT_ONCE = 1000
_MESSAGES_AT_ONCE = 64


class Stages:
    """CPU time by stage; the calls of the stage `profiled` are profiled."""

    def __init__(self, profiled: str | None = None) -> None:
        self.cpu_s: Counter[str] = Counter()
        self.profile = cProfile.Profile()
        self._profiled = profiled

    def timed(self, stage: str, action: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call the action as a part of the stage."""
        before = time.thread_time()
        if stage == self._profiled:
            result = self.profile.runcall(action, *arguments, **options)
        else:
            result = action(*arguments, **options)
        self.cpu_s[stage] += time.thread_time() - before
        return result


def run(store: Store, stages: Stages, prompts: int, models: int, items: int, goal: str) -> None:
    """Take prompts from ingest to their end."""
    tables = {"stream": {"responses_per_prompt": 0}, "pipeline": {"batch_items": items}}
    pool = make_pool("abcdefghijklmnop"[:models], both_orders=False, goal=goal, **tables)
    flow = Flow(store, pool)
    lines = [Line("-", n, json.dumps({"id": f"q{n}", "prompt": f"What is {n}?"}).encode()) for n in range(prompts)]
    for start in range(0, prompts, _LINES_AT_ONCE):
        stages.timed("ingest", take, store, "default", lines[start : start + _LINES_AT_ONCE], max_bytes=1 << 20)

    def messages(ids: list[str]) -> list[Any]:
        with store.reading() as transaction:
            return compose(transaction, pool, ids, "incarnation", 1.0)

    def mark(ids: list[str]) -> None:
        with store.transaction() as transaction:
            transaction.work.mark_published(ids, "incarnation", 1.0)

    while stages.timed("dispatch", flow.dispatcher.admit) or flow.sent:
        ids, flow.sent = flow.sent, []
        for start in range(0, len(ids), _MESSAGES_AT_ONCE):
            group = ids[start : start + _MESSAGES_AT_ONCE]
            for batch in stages.timed("compose", messages, group):
                if isinstance(batch, GenerateBatch):
                    stages.timed("score", flow.handle, flow.answer(batch))
                elif isinstance(batch, JudgeBatch):
                    stages.timed("learn", flow.handle, flow.judge(batch))
                else:
                    stages.timed("match", flow.handle, batch)
            stages.timed("mark", mark, group)


@contextmanager
def opened(url: str | None) -> Iterator[Store]:
    """The store at a URL, or a new one in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(url or f"sqlite:///{Path(folder) / 'karma.db'}")
        store.migrate()
        try:
            yield store
        finally:
            store.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.stages", description=__doc__)
    parser.add_argument("--prompts", type=int, default=3200)
    parser.add_argument("--models", type=int, default=4, help="2 to 16")
    parser.add_argument("--items", type=int, default=32, help="of a message")
    parser.add_argument("--goal", choices=("label", "rank", "train"), default="label")
    parser.add_argument("--url", help="of an empty database (default: a new SQLite file)")
    parser.add_argument("--profile", metavar="STAGE", help="print where its time goes; the figures then include that")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file")
    arguments = parser.parse_args()
    stages = Stages(arguments.profile)
    with opened(arguments.url) as store:
        run(store, stages, arguments.prompts, arguments.models, arguments.items, arguments.goal)
        with store.reading() as transaction:
            states = transaction.ledger.count_states()
    if states["done"] != arguments.prompts:
        raise SystemExit(f"not every prompt is done: {states}")
    figures = {f"us_{stage}": round(1e6 * seconds / arguments.prompts) for stage, seconds in stages.cpu_s.items()}
    figures["us_all"] = round(1e6 * stages.cpu_s.total() / arguments.prompts)
    for name, value in figures.items():
        print(f"{name:<12} {value:>6,}")
    if arguments.profile:
        pstats.Stats(stages.profile).sort_stats("tottime").print_stats(40)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
