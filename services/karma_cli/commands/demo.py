"""`karma demo`."""

from __future__ import annotations

import math
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from karma.config.pool import Pool
from karma.store import Store
from karma.store.latest_snapshot import LatestSnapshot
from karma_cli.commands.show import competencies
from karma_cli.local.supervisor import Supervisor
from karma_cli.options import HomeOption, Output, environment, formatted, open_store, warn
from karma_cli.progress import progress, working
from karma_demo import demonstration
from karma_demo.tasks import Task
from karma_gateway import exports
from karma_gateway.ingest import take
from karma_monitor.figures.quality import measure
from karma_monitor.queries.totals import count

_LOOK_EVERY_S = 0.2
#: After the last verdict the refit needs two looks to see that no more is coming.
_SETTLE_S = 10.0


@formatted
def demo(
    output: Output,
    prompts: Annotated[int, typer.Option("--prompts", min=2, help="How many prompts to stream.")] = 600,
    seed: Annotated[int, typer.Option("--seed", help="Which prompts; each seed has a home of its own.")] = 0,
    home: HomeOption = None,
) -> None:
    """Stream prompts through the bundled tiny models, and show what comes out. It ends by itself.

    `-q` prints the path of the dataset.
    """
    found = environment(home)
    own = found.home / ("demo" if seed == 0 else f"demo-{seed}")
    pool_path = own / "pool.toml"
    found = replace(found, home=own, pool_path=pool_path, database_url=f"sqlite:///{own / 'karma.db'}")
    own.mkdir(parents=True, exist_ok=True)
    pool_path.write_text(demonstration.pool_file())
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # everything is in the package: no hub is asked
    pool = Pool.read(pool_path)
    asked = demonstration.demo_tasks(prompts, seed)
    started = time.monotonic()
    with working(output, "starting Redis and the workers") as now:
        supervisor = Supervisor(found, pool)
        supervisor.start(now)
    try:
        store = open_store(found, promised=True)
        receipt = take(store, demonstration.STREAM, demonstration.lines(asked), max_bytes=pool.pipeline.prompt_bytes)
        output.say(f"{receipt.accepted} prompts accepted, {receipt.present} were there already")
        _follow(store, supervisor, output)
        _settle(store)
    finally:
        supervisor.stop()
    path = own / "preferences.jsonl"
    data, shown = _summary(store, pool, asked)
    count = exports.write(exports.rows(store, "trl-dpo"), path)
    store.close()
    took_s = time.monotonic() - started
    if output.form in ("human", "plain"):
        output.give({}, shown, [])
    output.say(
        f"{count} preferences for TRL's DPOTrainer, {took_s:.0f} s in all. "
        f"Look closer: karma page --home {_short(own)} --pool {_short(pool_path)}"
    )
    output.give({"path": str(path), "preferences": count, "took_s": round(took_s, 1), **data}, str(path), [path])


def _follow(store: Store, supervisor: Supervisor, output: Output) -> None:
    with progress(output) as bar:
        answered = bar.add_task("answered", total=None)
        ended = bar.add_task("ended", total=None)
        while True:
            supervisor.watch(warn)
            with store.reading() as transaction:
                states = transaction.ledger.count_states()
            total = sum(states.values())
            done = states["done"] + states["dead"]
            bar.update(answered, total=total, completed=done + states["answered"] + states["matched"])
            bar.update(ended, total=total, completed=done)
            if done == total:
                return
            time.sleep(_LOOK_EVERY_S)


def _settle(store: Store) -> None:
    """Wait until the last verdicts have been learnt from."""
    deadline = time.monotonic() + _SETTLE_S
    while time.monotonic() < deadline:
        with store.reading() as transaction:
            newest = transaction.preferences.latest_snapshot()
            weight = transaction.preferences.counted_verdicts()
        if newest is not None and newest[1] >= weight:
            return
        time.sleep(_LOOK_EVERY_S)


def _summary(store: Store, pool: Pool, asked: list[Task]) -> tuple[dict[str, Any], RenderableType]:
    """What came out, as data and for people."""
    with store.reading() as transaction:
        totals = count(transaction.ledger.connection, transaction.ledger.now)
        snapshot = LatestSnapshot().newest(transaction)
    outcomes = {**totals.outcomes, "no_pair": totals.without_pair}
    policies = measure(store, pool.tie_margin).policies.values()
    flipped, both = sum(sums.flipped for sums in policies), sum(sums.both_orders for sums in policies)
    table = Table(*outcomes, title="what the prompts came to", title_justify="left")
    table.add_row(*(f"{count:,}" for count in outcomes.values()))
    blind = [judge.name for judge in pool.judges.values() if not judge.both_orders]
    why = f" (the judge {', '.join(blind)} cannot see the order)" if blind and not both else ""
    result = demonstration.check(store, snapshot, asked)
    data = {
        "resolutions": outcomes,
        "flipped": flipped,
        "judged_in_both_orders": both,
        "judge_accuracy": None if math.isnan(result.judge_accuracy) else result.judge_accuracy,
        "spearman": None if math.isnan(result.spearman) else result.spearman,
    }
    flips = Text(f"flips: {flipped} of {both} pairs judged in both orders{why}\n")
    held = Text(
        "\nHeld against the known answers, which the pipeline never saw:\n"
        f"  the judge chose the right response in {100 * result.judge_accuracy:.1f} % of the {result.judged} pairs "
        "with exactly one right response\n"
        f"  Spearman correlation of learnt competency with held-out accuracy: {result.spearman:.3f} "
        f"over {len(snapshot.models)} models"
    )
    return data, Group(table, flips, competencies(snapshot), held)


def _short(path: Path) -> str:
    """A path as it is shortest to type."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
