"""`karma demo`: run the pipeline on bundled tiny models and print the results."""

from __future__ import annotations

import math
import os
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from karma.config.environment import sqlite_url
from karma.config.home import make_private
from karma.config.judge_calls import calls_per_pair
from karma.config.pool import Pool
from karma.store import Store
from karma.store.export_filter import ExportFilter
from karma.store.latest_snapshot import LatestSnapshot
from karma_cli.commands.models import competencies
from karma_cli.local.supervisor import Supervisor
from karma_cli.options import HomeOption, open_store, read_environment
from karma_cli.output import Output, warn, with_format_flags
from karma_cli.progress import progress, wait_for_prompts, working
from karma_demo import scenario
from karma_demo.tasks import Task
from karma_gateway import exports
from karma_gateway.ingest import take
from karma_monitor.figures.models.leaderboard import leaderboard, skills_of
from karma_monitor.figures.quality import measure
from karma_monitor.queries.finished import Finished, finished_since
from karma_monitor.queries.totals import count as count_totals

_POLL_S = 0.2
#: The last refit starts once two polls have seen no new verdict.
_LAST_REFIT_S = 10.0


@with_format_flags
def demo(
    output: Output,
    prompts: Annotated[int, typer.Option("--prompts", min=2, help="Number of prompts.")] = 600,
    seed: Annotated[int, typer.Option("--seed", help="Selects the prompts; each seed has its own home.")] = 0,
    home: HomeOption = None,
) -> None:
    """Run the pipeline on bundled tiny models and print the results.

    `-q` prints the path of the dataset.
    """
    own = read_environment(home).home / ("demo" if seed == 0 else f"demo-{seed}")
    pool_path = own / "pool.toml"
    given = read_environment(own, pool_path)
    env = replace(given, database_url=sqlite_url(own / "karma.db"), database_password=None)
    make_private(own)
    pool_path.write_text(scenario.pool_file())
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # the package holds all checkpoints
    pool = Pool.read(pool_path)
    tasks = scenario.demo_tasks(prompts, seed)
    path = own / "preferences.jsonl"
    started = time.monotonic()
    with ExitStack() as stack:
        with working(output, "starting Redis and the workers") as show:
            supervisor = stack.enter_context(Supervisor(env, pool).run(show))
        store = stack.enter_context(closing(open_store(env, promised=True)))
        lines = scenario.prompt_lines(tasks)
        receipt = take(store, scenario.STREAM, lines, max_bytes=pool.pipeline.prompt_bytes)
        output.note(f"{receipt.accepted} prompts accepted, {receipt.present} already present")
        with progress(output) as bar:
            wait_for_prompts(store, bar, on_poll=[lambda: supervisor.check(warn)])
        _wait_for_refit(store)
        count = exports.write(exports.rows(store, "trl-dpo", ExportFilter.usual()), path)
        data, shown, finished = _results(store, pool, tasks)
    took_s = time.monotonic() - started
    for sentence in finished.reason_sentences():
        output.note(sentence)
    if output.form in ("human", "plain"):
        output.result({}, shown, [])
    output.note(
        f"{count} preferences for TRL's DPOTrainer, {took_s:.0f} s in total. "
        f"Next: karma page --home {_short(own)} --pool {_short(pool_path)}"
    )
    output.result({"path": str(path), "preferences": count, "took_s": round(took_s, 1), **data}, _short(path), [path])
    if finished.failed and not count:
        raise typer.Exit(1)


def _wait_for_refit(store: Store) -> None:
    """Wait until the competencies include the last verdicts."""
    deadline = time.monotonic() + _LAST_REFIT_S
    while time.monotonic() < deadline:
        with store.reading() as transaction:
            newest = transaction.preferences.latest_snapshot()
            weight = transaction.preferences.counted_verdicts()
        if newest is not None and newest[1] >= weight * (1.0 - 1e-9):  # sums of fractions, in any order
            return
        time.sleep(_POLL_S)


def _results(store: Store, pool: Pool, tasks: list[Task]) -> tuple[dict[str, Any], RenderableType, Finished]:
    """The results as data and for people, and what the prompts came to."""
    with store.reading() as transaction:
        totals = count_totals(transaction.ledger.connection, transaction.ledger.now)
        snapshot = LatestSnapshot().newest(transaction)
        finished = finished_since(transaction.ledger.connection, scenario.STREAM, 0.0, pool.prices)
    outcomes = {**totals.outcomes, "no_pair": totals.without_pair}
    policies = measure(store, pool.tie_margin, [scenario.STREAM]).policies.values()
    flipped, both = sum(sums.flipped for sums in policies), sum(sums.both_orders for sums in policies)
    table = Table(*outcomes, title="pairs by outcome, and prompts without a pair", title_justify="left")
    table.add_row(*(f"{count:,}" for count in outcomes.values()))
    result = scenario.check(store, snapshot, tasks)
    pairs, calls = sum(sums.pairs for sums in policies), sum(sums.calls for sums in policies)
    all_calls = pairs * calls_per_pair(pool.stream_judges(scenario.STREAM), pool.stream(scenario.STREAM))
    data = {
        "resolutions": outcomes,
        "labels": finished.data()["labels"],
        "unsure_labels": finished.unsure,
        "reasons": [reason.data() for reason in finished.reasons],
        **finished.spending.data(),
        "judge_calls": calls,
        "judge_calls_of_all_pairs": all_calls,
        "flipped": flipped,
        "judged_in_both_orders": both,
        "judge_accuracy": result.judged.accuracy,
        "predicted_accuracy": result.predicted.accuracy,
        "spearman": None if math.isnan(result.spearman) else result.spearman,
    }
    one_order = [judge.name for judge in pool.judges.values() if not judge.both_orders]
    why = f" (the judge {', '.join(one_order)} does not see the order)" if one_order and not both else ""
    orders = "in every order" if len(one_order) < len(pool.judges) else "once"
    spent = Text(
        f"{finished.labels_sentence()}\n"
        f"{finished.spending.sentence()}\n"
        f"judge calls: {calls:,}; to judge each of the {pairs:,} pairs {orders} would have taken {all_calls:,}\n"
        f"order flips: {flipped:.0f} of {both:.0f} pairs judged in both orders{why}\n"
    )
    boards = {skill: leaderboard(snapshot, skill) for skill in skills_of(snapshot)}
    checked = Text(
        "\nCompared with the known answers, which the pipeline never saw:\n"
        f"  labels of pairs with exactly one right response: {_right(result.judged + result.predicted)} right; "
        f"judged {_right(result.judged)}, predicted {_right(result.predicted)}\n"
        f"  Spearman correlation of competency with held-out accuracy: {result.spearman:.3f} "
        f"over {len(snapshot.models)} models"
    )
    return data, Group(table, spent, competencies(boards, Output.console().width), checked), finished


def _right(labels: scenario.Labels) -> str:
    """The share of labels that are right, and of how many."""
    share = "unknown" if labels.accuracy is None else f"{100 * labels.accuracy:.1f} %"
    return f"{share} of {labels.checkable}"


def _short(path: Path) -> str:
    """The path relative to the working directory, if it is inside."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
