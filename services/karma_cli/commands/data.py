"""`karma enqueue`, `karma requeue`, `karma export`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

import typer

from karma.config.pool import Pool
from karma.config.settings import PipelineSettings
from karma.errors import KarmaError, SettingsError, StoreOutageError
from karma.store import Store
from karma.store.records import ExportFilter
from karma.store.requeue import bring_back, requeue_dead, requeue_unanswered, requeue_unscored
from karma_cli.options import (
    HomeOption,
    Output,
    PoolOption,
    StreamOption,
    environment,
    formatted,
    open_store,
    wake_gateway,
    warn,
)
from karma_cli.progress import follow_lines, follow_rows, progress, wait_for_end
from karma_gateway import exports
from karma_gateway.ingest import Receipt, take
from karma_gateway.sources import read_lines
from karma_monitor.escaping import escape_control

_SHOWN_REFUSALS = 20


@formatted
def enqueue(
    output: Output,
    source: Annotated[str, typer.Argument(metavar="FILE|-", help="A file of JSON Lines, or - for standard input.")],
    stream: StreamOption = "default",
    priority: Annotated[int, typer.Option("--priority", min=0, max=9, help="0 to 9, higher first.")] = 0,
    strict: Annotated[bool, typer.Option("--strict", help="Accept nothing if anything is wrong, and exit 2.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until every prompt of the store has ended.")] = False,
    pool: PoolOption = None,
    home: HomeOption = None,
) -> None:
    """Accept prompts, one JSON object a line: `prompt` or `messages`; also `id`, `skill`, `reference`, `responses`.

    `-q` prints how many were accepted.
    """
    found = environment(home, pool)
    read_pool = Pool.read(found.pool_path) if found.pool_path.exists() else None
    limits = read_pool.pipeline if read_pool else PipelineSettings()
    if read_pool and not read_pool.stream_models(stream):
        warn(f"{read_pool.path} names no model: prompts without `responses` wait until one is added")
    store = open_store(found, promised=True)
    receipt = Receipt()
    outage: StoreOutageError | None = None
    take_lines = partial(take, store, stream, max_bytes=limits.prompt_bytes, priority=priority, all_or_nothing=strict)
    try:
        with progress(output, hidden=source == "-" and sys.stdin.isatty()) as bar:
            chunks = follow_lines(read_lines(source, limits.prompt_bytes), source, bar)
            if strict:
                chunks = iter([list(chain.from_iterable(chunks))])
            for lines in chunks:
                _add(receipt, take_lines(lines), len(lines) if strict else None)
                wake_gateway(found)
            if receipt.accepted + receipt.present + len(receipt.refused) == 0:
                warn(f"{source} holds no prompt")
            if wait:
                wait_for_end(bar, partial(_ended, store))
    except StoreOutageError as cause:
        outage = cause
    finally:
        store.close()
    counts = {
        "stream": stream,
        "accepted": receipt.accepted,
        "present": receipt.present,
        "refused": len(receipt.refused),
    }
    output.say(f"{receipt.accepted} accepted, {receipt.present} already present, {len(receipt.refused)} refused")
    output.give(counts, None, [receipt.accepted])
    if outage is not None:
        raise KarmaError(f"{outage}. What was accepted before is kept; enqueue the same again once it works.")
    if receipt.refused:
        raise typer.Exit(1)


def _add(receipt: Receipt, part: Receipt, of_strict: int | None) -> None:
    """Count what became of some lines; with `--strict` they are all lines, and one refusal refuses all."""
    _show_refusals(part, len(receipt.refused))
    receipt.accepted += part.accepted
    receipt.present += part.present
    receipt.refused += part.refused
    if of_strict is not None and part.refused:
        wrong = f"{len(part.refused)} of {of_strict} lines are wrong"
        raise SettingsError(f"nothing was accepted: {wrong} (--strict)")


@formatted
def requeue(
    output: Output,
    what: Annotated[
        Literal["dead", "failed", "all"],
        typer.Argument(help="dead prompts; failed: prompts without a pair for failed answers, and unscored pairs."),
    ] = "all",
    stream: Annotated[str | None, typer.Option("--stream", help="Only this stream.")] = None,
    home: HomeOption = None,
) -> None:
    """Bring back what ended badly: it goes on where it ended, and what was answered or judged is not paid for again.

    `-q` prints how many prompts were brought back.
    """
    found = environment(home)
    store = open_store(found, promised=True)
    kinds = {"dead": requeue_dead, "without_pair": requeue_unanswered, "unscored": requeue_unscored}
    chosen = {"dead": ["dead"], "failed": ["without_pair", "unscored"], "all": list(kinds)}[what]
    counts = dict.fromkeys(kinds, 0)
    try:
        with progress(output) as bar:
            task = bar.add_task("prompts brought back", total=None)
            for kind in chosen:
                for brought_back in bring_back(store, kinds[kind], stream):
                    counts[kind] += brought_back
                    bar.advance(task, brought_back)
    finally:
        store.close()
    if any(counts.values()):
        wake_gateway(found)
    output.say(
        f"brought back: {counts['dead']} dead, {counts['without_pair']} without a pair, "
        f"{counts['unscored']} with unscored pairs"
    )
    output.give(counts, None, [sum(counts.values())])


def _show_refusals(receipt: Receipt, shown: int) -> None:
    for refusal in receipt.refused[: max(0, _SHOWN_REFUSALS - shown)]:
        print(f"× {escape_control(str(refusal))}", file=sys.stderr)
    if shown < _SHOWN_REFUSALS <= shown + len(receipt.refused):
        print("× … further refusals are only counted", file=sys.stderr)


def _ended(store: Store) -> tuple[int, int]:
    """How many prompts of the store have ended, and of how many."""
    with store.reading() as transaction:
        states = transaction.ledger.count_states()
    return states["done"] + states["dead"], sum(states.values())


@formatted
def export(
    output: Output,
    exporter: Annotated[str, typer.Argument(metavar="FORMAT", help="trl-dpo or jsonl.")],
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="A file that ends with .jsonl or .parquet; - for JSON Lines on stdout."),
    ],
    stream: Annotated[str | None, typer.Option("--stream", help="Only this stream.")] = None,
    label_source: Annotated[
        Literal["judge", "predicted"] | None,
        typer.Option("--label-source", help="Only labels of judges, or only those predicted under a judge budget."),
    ] = None,
    least_probability: Annotated[
        float, typer.Option("--min-probability", min=0.5, max=1.0, help="Only preferences at least so sure.")
    ] = 0.5,
    bare: Annotated[bool, typer.Option("--bare", help="Without KARMA's own columns.")] = False,
    home: HomeOption = None,
) -> None:
    """Write the preferences of the store as a dataset for training."""
    found = environment(home)
    # The pool file only gives prices and tie margins: a store that was copied somewhere exports without it.
    read = Pool.read(found.pool_path) if found.pool_path.exists() and not bare else None
    more = (read.prices, read.tie_margin) if read else ()
    store = open_store(found)
    kept = ExportFilter(stream, label_source, least_probability)
    to_stdout = str(out) == "-"
    try:
        # Rows that fill the terminal themselves leave no place for a bar.
        with progress(output, hidden=to_stdout and sys.stdout.isatty()) as bar:
            total = None if bar.disable else exports.expected(store, kept)
            rows = follow_rows(exports.rows(store, exporter, kept, bare, *more), bar, total)
            count = _print(rows) if to_stdout else exports.write(rows, out)
    finally:
        store.close()
    output.say(f"{count} preferences")
    if not to_stdout:
        output.give({"path": str(out), "preferences": count}, str(out), [out])


def _print(rows: Iterable[exports.Row]) -> int:
    count = 0
    for row in rows:
        print(json.dumps(row, ensure_ascii=False))
        count += 1
    return count
