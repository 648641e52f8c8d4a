"""`karma enqueue`: accept prompts from a file or standard input."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from functools import partial
from itertools import chain
from typing import Annotated

import typer

from karma.config.kin_judges import kin_judges, notices
from karma.config.pool import Pool
from karma.config.settings import PipelineSettings
from karma.errors import KarmaError, SettingsError, StoreOutageError
from karma.store import Store
from karma.store.database import COUNTING_S
from karma.telemetry.escaping import escape_control
from karma_cli.estimates import show_estimate
from karma_cli.options import (
    HomeOption,
    PoolOption,
    any_worker,
    open_store,
    pool_if_any,
    read_environment,
    time_of,
    wake_gateway,
)
from karma_cli.output import Output, warn, with_format_flags
from karma_cli.progress import NO_WORKER, WorkerWatch, count_lines, progress, track, wait_for_prompts
from karma_cli.stream_end import budget_notice, endpoint_notice, reached, set_end
from karma_gateway.ingest import Line, Receipt, Refusal, take
from karma_gateway.sources import read_lines
from karma_monitor.queries.finished import finished_since
from karma_monitor.queries.stream_goals import Labeling, labeling

_PRINTED_REFUSALS = 20


@with_format_flags
def enqueue(
    output: Output,
    source: Annotated[str, typer.Argument(metavar="FILE|-", help="JSON Lines or a JSON array; - for standard input.")],
    stream: Annotated[str, typer.Option("--stream", help="The stream to add to.")] = "default",
    priority: Annotated[int, typer.Option("--priority", min=0, max=9, help="0 to 9, higher first.")] = 0,
    strict: Annotated[bool, typer.Option("--strict", help="Accept all lines or none; exit 2 if one is wrong.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until every prompt of the store has finished; exit 1 if one failed.")
    ] = False,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Accept nothing: say what the prompts would cost, with an interval.")
    ] = False,
    until: Annotated[
        int | None,
        typer.Option(
            "--until", min=0, help="Admit no more of the stream once it has so many preferences; 0: no such end."
        ),
    ] = None,
    max_prompts: Annotated[
        int | None, typer.Option("--max-prompts", min=1, help="With --until: admit at most so many prompts more.")
    ] = None,
    pool: PoolOption = None,
    home: HomeOption = None,
) -> None:
    """Accept prompts from a file or standard input.

    One JSON object per line, or an array of them: `prompt` or `messages`; optional `id`, `skill`, `reference`,
    `responses`. Any other field is the prompt's metadata and travels to the export.

    `-q` prints the number of accepted prompts; with `--estimate` the cost in USD.
    """
    env = read_environment(home, pool)
    read_pool = pool_if_any(env)
    max_bytes = (read_pool.pipeline if read_pool else PipelineSettings()).prompt_bytes
    if read_pool:
        _say_of_pool(output, read_pool, stream)
    if estimate:
        show_estimate(output, env, read_pool, stream, read_lines(source, max_bytes), max_prompts)
        return
    receipt, started_at, summary = Receipt(), time_of(env), None
    warned = wait and not any_worker(env)
    if warned:
        warn(NO_WORKER)
    outage: StoreOutageError | None = None
    with (
        closing(open_store(env, promised=True)) as store,
        progress(output, hidden=source == "-" and sys.stdin.isatty()) as bar,
    ):
        set_end(store, stream, until, max_prompts)  # before the first prompt, so that none is admitted too many
        total = None if bar.disable else count_lines(source)
        chunks = track(read_lines(source, max_bytes), bar, "lines read", total, len)
        taking = partial(take, store, stream, max_bytes=max_bytes, priority=priority, all_or_nothing=strict)
        try:
            for lines in [list(chain.from_iterable(chunks))] if strict else chunks:
                _accept(taking, lines, receipt, strict)
                wake_gateway(env)
        except StoreOutageError as cause:
            outage = cause
        counts = {"accepted": receipt.accepted, "present": receipt.present, "refused": len(receipt.refused)}
        if outage is None and not any(counts.values()):
            warn(f"{source} holds no prompt")
        if wait and outage is None:
            watches = WorkerWatch(env, warned), budget_notice(store, read_pool), endpoint_notice(env, read_pool)
            wait_for_prompts(store, bar, on_poll=watches)
            with store.reading(COUNTING_S) as transaction:
                prices = read_pool.prices if read_pool else None
                summary = finished_since(transaction.ledger.connection, stream, started_at, prices)
        labels = None if outage is not None else _labels(store, read_pool, stream)
        end = reached(store, stream, waited=wait)
    output.note(f"{receipt.accepted} accepted, {receipt.present} already present, {len(receipt.refused)} refused")
    data = {"stream": stream, **counts, **(labels.data() if labels else {})}
    sentences = [labels.sentence()] if labels and receipt.accepted else []
    if summary is not None:
        data["finished"], sentences = summary.data(), [*summary.sentences()]
    if end is not None:
        data["until"], sentences = end[0], [*sentences, end[1]]
    for sentence in filter(None, sentences):
        output.note(sentence)
    output.result(data, None, [receipt.accepted])
    if outage is not None:
        raise KarmaError(f"{outage}. Prompts accepted before are kept; enqueue the same again once it works.")
    if receipt.refused or (summary is not None and summary.failed):
        raise typer.Exit(1)


def _say_of_pool(output: Output, pool: Pool, stream: str) -> None:
    if not pool.stream_models(stream):
        warn(f"{pool.path} names no model: prompts without `responses` wait until one is added")
    for notice in notices(kin_judges(pool, stream)):
        output.note(notice)


def _accept(taking: Callable[..., Receipt], lines: Sequence[Line], receipt: Receipt, strict: bool) -> None:
    """Accept some lines, and add what came of them to the receipt."""
    part = taking(lines)
    print_refusals(part.refused, already=len(receipt.refused))
    if strict and part.refused:
        wrong = f"{len(part.refused)} of {len(lines)} lines are wrong"
        raise SettingsError(f"nothing was accepted: {wrong} (--strict)")
    receipt.accepted += part.accepted
    receipt.present += part.present
    receipt.refused += part.refused


def _labels(store: Store, pool: Pool | None, stream: str) -> Labeling | None:
    """How the stream's pairs get their labels; None where it cannot be read now, which must not spoil the receipt."""
    with suppress(StoreOutageError), store.reading() as transaction:
        return labeling(transaction.ledger.connection, pool, stream)
    return None


def print_refusals(refused: Sequence[Refusal], already: int) -> None:
    """Print refused lines, the first twenty of a file; `already` have been printed or counted."""
    for refusal in refused[: max(0, _PRINTED_REFUSALS - already)]:
        print(f"× {escape_control(str(refusal))}", file=sys.stderr)
    if already < _PRINTED_REFUSALS <= already + len(refused):
        print("× … further refusals are only counted", file=sys.stderr)
