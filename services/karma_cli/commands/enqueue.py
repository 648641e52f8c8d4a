"""`karma enqueue`: accept prompts from files, folders or standard input."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from karma.config.kin_judges import kin_judges, notices
from karma.config.pool import Pool
from karma.config.settings import PipelineSettings
from karma.errors import KarmaError, SettingsError, StoreOutageError
from karma.store import Store
from karma.store.database import COUNTING_S
from karma.store.schema import EVERYTHING
from karma.store.streams import paused
from karma.telemetry.escaping import escape_control
from karma_cli.feeds import Feeds
from karma_cli.intake import Intake
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
from karma_cli.progress import NO_WORKER, WorkerWatch, progress, track, wait_for_prompts
from karma_cli.refusals import Refusals
from karma_cli.stream_end import budget_notice, endpoint_notice, reached, set_end
from karma_gateway.forms.reader import PromptReader, mapping_of
from karma_gateway.sources.duplicates import Duplicates
from karma_monitor.queries.finished import Finished, finished_since
from karma_monitor.queries.stream_goals import Labeling, labeling


@with_format_flags
def enqueue(
    output: Output,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE…",
            help="Files, folders, patterns, - for standard input; hf:DATASET; redis:STREAM.",
        ),
    ],
    stream: Annotated[str, typer.Option("--stream", help="The stream to add to.")] = "default",
    priority: Annotated[int, typer.Option("--priority", min=0, max=9, help="0 to 9, higher first.")] = 0,
    mapped: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="FIELD=COLUMN", help="Where a field is: prompt=question. May be repeated."),
    ] = None,
    dropped: Annotated[
        list[str] | None, typer.Option("--drop", metavar="COLUMN", help="Leave a column out. May be repeated.")
    ] = None,
    cut_last_assistant: Annotated[
        bool, typer.Option("--cut-last-assistant", help="Leave out the assistant's turns that a chat ends with.")
    ] = False,
    verdicts_as: Annotated[
        str | None,
        typer.Option(
            "--verdicts-as", metavar="NAME", help="Take the ratings that responses come with as verdicts of this judge."
        ),
    ] = None,
    duplicates: Annotated[
        Literal["skip", "keep"] | None,
        typer.Option(
            "--duplicates",
            help="A prompt whose text an earlier one of this command had: skip it, or keep it.",
            show_default="keep those with an id of their own",
        ),
    ] = None,
    rejects: Annotated[
        Path | None, typer.Option("--rejects", metavar="FILE", help="Write refused rows with their reasons here.")
    ] = None,
    config: Annotated[str | None, typer.Option("--config", help="Of a dataset that has several.")] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="Of a dataset.", show_default="the only one, or train")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on with what is written to the file or stream, until Ctrl-C.")
    ] = False,
    group: Annotated[str, typer.Option("--group", help="The group of consumers of a Redis stream.")] = "karma",
    strict: Annotated[bool, typer.Option("--strict", help="Accept all lines or none; exit 2 if one is wrong.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until every prompt of the stream has finished; exit 1 if one failed.")
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
    """Accept prompts from files, folders or standard input.

    Also from datasets (hf:NAME or hf:./FOLDER) and Redis streams (redis:STREAM). Files are JSON Lines, JSON, CSV,
    Parquet or Arrow, also compressed.

    The form of the data is recognized by its columns: `prompt` or `messages` with optional `id`, `skill`, `reference`,
    `responses`; Alpaca; ShareGPT; OpenAI's batch files; the layouts of published preference data. For any other,
    `--map prompt=COLUMN` names the prompt. Other columns are the prompt's metadata and travel to the export.

    Every row ends as accepted, present, a skipped duplicate, or refused with its reason.

    `-q` prints the number of accepted prompts; with `--estimate` the cost in USD.
    """
    env = read_environment(home, pool)
    read_pool = pool_if_any(env)
    max_bytes = (read_pool.pipeline if read_pool else PipelineSettings()).prompt_bytes
    reader = PromptReader(
        max_bytes, priority, mapping_of(mapped or []), frozenset(dropped or ()), cut_last_assistant, verdicts_as
    )
    feeds = Feeds(sources, env, config, split, group, follow)
    _check(feeds, strict, estimate, wait)
    if read_pool:
        _say_of_pool(output, read_pool, stream)
    for said in feeds.sentences():
        output.note(escape_control(said))
    if estimate:
        from karma_cli.estimates import show_estimate

        show_estimate(output, env, read_pool, stream, feeds.chunks(max_bytes), reader, max_prompts)
        return
    started_at, summary, in_all = time_of(env), None, None
    warned = wait and not any_worker(env)
    if warned:
        warn(NO_WORKER)
    with ExitStack() as stack:
        refusals = stack.enter_context(Refusals(rejects))
        store = stack.enter_context(closing(open_store(env, promised=True)))
        bar = stack.enter_context(progress(output, hidden=feeds.reads_stdin and sys.stdin.isatty()))
        found = stack.enter_context(closing(Duplicates(duplicates))) if duplicates else None
        intake = Intake(store, stream, reader, refusals, found, strict)
        set_end(store, stream, until, max_prompts)  # before the first prompt, so that none is admitted too many
        _say_if_paused(store, stream)
        total = None if bar.disable else feeds.expected()
        chunks = track(feeds.chunks(max_bytes), bar, "rows read", total, len)
        with _until_stopped() if follow else nullcontext():
            intake.take_all(chunks, partial(wake_gateway, env))
        outage = intake.outage
        if outage is None and intake.is_empty:
            warn(f"{', '.join(sources)} holds no prompt")
        if wait and outage is None:
            watches = WorkerWatch(env, warned), budget_notice(store, read_pool), endpoint_notice(env, read_pool)
            wait_for_prompts(store, bar, [stream], on_poll=watches)
            with store.reading(COUNTING_S) as transaction:
                prices = read_pool.prices if read_pool else None
                summary = finished_since(transaction.ledger.connection, stream, started_at, prices)
                in_all = (
                    summary if summary.prompts else finished_since(transaction.ledger.connection, stream, 0.0, prices)
                )
        labels = None if outage is not None else _labels(store, read_pool, stream)
        end = reached(store, stream, waited=wait)
    _say(output, stream, intake, rejects, labels, summary, in_all, end)
    if outage is not None:
        raise KarmaError(f"{outage}. Prompts accepted before are kept; enqueue the same again once it works.")
    if refusals.count or (summary is not None and summary.failed):
        raise typer.Exit(1)


def _say(
    output: Output,
    stream: str,
    intake: Intake,
    rejects: Path | None,
    labels: Labeling | None,
    summary: Finished | None,
    in_all: Finished | None,
    end: tuple[dict[str, Any], str] | None,
) -> None:
    for sentence in intake.sentences(rejects):
        output.note(sentence)
    data = {"stream": stream, **intake.data(), **(labels.data() if labels else {})}
    sentences = [labels.sentence()] if labels and intake.receipt.accepted else []
    if summary is not None and in_all is not None:  # of the whole stream, where nothing finished meanwhile
        data["finished"] = summary.data()
        sentences = [*in_all.sentences(" meanwhile" if summary.prompts else " before")]
    if end is not None:
        data["until"], sentences = end[0], [*sentences, end[1]]
    for sentence in filter(None, sentences):
        output.note(sentence)
    output.result(data, None, [intake.receipt.accepted])


def _check(feeds: Feeds, strict: bool, estimate: bool, wait: bool) -> None:
    """Refuse what a source cannot do."""
    if feeds.acknowledges and (strict or estimate):
        option = "--strict" if strict else "--estimate"
        raise SettingsError(f"{option} reads everything first, and what is read from a Redis stream is acknowledged")
    if feeds.follow and (strict or estimate or wait):
        option = "--strict" if strict else "--estimate" if estimate else "--wait"
        raise SettingsError(f"{option} waits for the end, and --follow has none")


@contextmanager
def _until_stopped() -> Iterator[None]:
    """Ctrl-C and SIGTERM end what has no end; what was accepted is said as usual."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _say_of_pool(output: Output, pool: Pool, stream: str) -> None:
    if not pool.stream_models(stream):
        warn(f"{pool.path} names no model: prompts without `responses` wait until one is added")
    for notice in notices(kin_judges(pool, stream)):
        output.note(notice)


def _say_if_paused(store: Store, stream: str) -> None:
    """A pause is also what a deletion that was cut off leaves: prompts would wait, and go with its next run."""
    with suppress(StoreOutageError), store.reading() as transaction:
        stopped = paused(transaction.ledger.connection)
    if stream in stopped:
        warn(f"the stream {stream} is paused: its prompts wait for karma resume {stream}")
    elif EVERYTHING in stopped:
        warn("everything is paused: prompts wait for karma resume")


def _labels(store: Store, pool: Pool | None, stream: str) -> Labeling | None:
    """How the stream's pairs get their labels; None where it cannot be read now, which must not spoil the receipt."""
    with suppress(StoreOutageError), store.reading() as transaction:
        return labeling(transaction.ledger.connection, pool, stream)
    return None
