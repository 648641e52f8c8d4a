"""`karma enqueue` and `karma export`."""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from karma.broker import connect, wake
from karma.errors import KarmaError, SettingsError, StoreOutageError
from karma.pool import Pool
from karma.pool_tables import PipelineSettings
from karma.settings import Environment
from karma.store import Store
from karma.store.records import ExportFilter
from karma.store.requeue import requeue_dead, requeue_unanswered, requeue_unscored
from karma_gateway import exports
from karma_gateway.cli.options import HomeOption, JsonOption, PoolOption, StreamOption, console, environment, open_store
from karma_gateway.door import Receipt, take
from karma_gateway.sources import read_lines

_SHOWN_REFUSALS = 20
_LOOK_EVERY_S = 0.2


def enqueue(
    source: Annotated[str, typer.Argument(metavar="FILE|-", help="A file of JSON Lines, or - for standard input.")],
    stream: StreamOption = "default",
    priority: Annotated[int, typer.Option("--priority", min=0, max=9, help="0 to 9, higher first.")] = 0,
    strict: Annotated[bool, typer.Option("--strict", help="Accept nothing if anything is wrong, and exit 2.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until every prompt of the store has ended.")] = False,
    as_json: JsonOption = False,
    pool: PoolOption = None,
    home: HomeOption = None,
) -> None:
    """Accept prompts, one JSON object a line: `prompt` or `messages`; also `id`, `skill`, `reference`, `responses`."""
    found = environment(home, pool)
    read_pool = Pool.read(found.pool_path) if found.pool_path.exists() else None
    limits = read_pool.pipeline if read_pool else PipelineSettings()
    if read_pool and not read_pool.stream_models(stream):
        console.print(f"{read_pool.path} names no model: prompts without `responses` wait until one is added")
    store = open_store(found, promised=True)
    chunks = read_lines(source, limits.prompt_bytes)
    receipt = Receipt()
    outage: StoreOutageError | None = None
    if strict:
        chunks = iter([list(chain.from_iterable(chunks))])
    take_lines = partial(take, store, stream, max_bytes=limits.prompt_bytes, priority=priority, all_or_nothing=strict)
    try:
        for lines in chunks:
            _add(receipt, take_lines(lines), len(lines) if strict else None)
            _wake(found)
        if receipt.accepted + receipt.present + len(receipt.refused) == 0:
            console.print(f"{source} holds no prompt", highlight=False)
        if wait:
            _wait_for_end(store)
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
    if as_json:
        print(json.dumps(counts))
    else:
        console.print(
            f"{receipt.accepted} accepted, {receipt.present} already present, {len(receipt.refused)} refused",
            highlight=False,
        )
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


def requeue(
    what: Annotated[
        Literal["dead", "failed", "all"],
        typer.Argument(help="dead prompts; failed: prompts without a pair for failed answers, and unscored pairs."),
    ] = "all",
    stream: Annotated[str | None, typer.Option("--stream", help="Only this stream.")] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Bring back what ended badly: it goes on where it ended, and what was answered or judged is not paid for again."""
    found = environment(home)
    store = open_store(found, promised=True)
    kinds = {"dead": requeue_dead, "without_pair": requeue_unanswered, "unscored": requeue_unscored}
    chosen = {"dead": ["dead"], "failed": ["without_pair", "unscored"], "all": list(kinds)}[what]
    counts = dict.fromkeys(kinds, 0)
    try:
        for kind in chosen:
            while True:
                with store.transaction() as transaction:
                    brought_back = kinds[kind](transaction.ledger.connection, stream)
                if not brought_back:
                    break
                counts[kind] += brought_back
    finally:
        store.close()
    if any(counts.values()):
        _wake(found)
    if as_json:
        print(json.dumps(counts))
    else:
        said = (
            f"{counts['dead']} dead, {counts['without_pair']} without a pair, {counts['unscored']} with unscored pairs"
        )
        console.print(f"brought back: {said}", highlight=False)


def _show_refusals(receipt: Receipt, shown: int) -> None:
    for refusal in receipt.refused[: max(0, _SHOWN_REFUSALS - shown)]:
        print(f"× {refusal}", file=sys.stderr)
    if shown < _SHOWN_REFUSALS <= shown + len(receipt.refused):
        print("× … further refusals are only counted", file=sys.stderr)


def _wake(found: Environment) -> None:
    """Best effort: a gateway that is not told looks by itself within a second."""
    try:
        wake(connect(found.broker_url()))
    except KarmaError:
        return


def _wait_for_end(store: Store) -> None:
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
    ) as progress:
        task = progress.add_task("prompts ended", total=None)
        while True:
            try:
                with store.reading() as transaction:
                    states = transaction.ledger.count_states()
            except StoreOutageError:
                time.sleep(_LOOK_EVERY_S)  # what waits for an end can wait for the store
                continue
            ended, total = states["done"] + states["dead"], sum(states.values())
            progress.update(task, completed=ended, total=total)
            if ended == total:
                return
            time.sleep(_LOOK_EVERY_S)


def export(
    form: Annotated[str, typer.Argument(metavar="FORMAT", help="trl-dpo or jsonl.")],
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
    store = open_store(environment(home))
    try:
        exported = exports.rows(store, form, ExportFilter(stream, label_source, least_probability), bare)
        if str(out) == "-":
            for row in exported:
                print(json.dumps(row, ensure_ascii=False))
            return
        with console.status(f"writing {out}"):
            count = exports.write(exported, out)
    finally:
        store.close()
    console.print(f"{count} preferences", highlight=False)
    print(out)
