"""`karma judge`: preferences among answers that exist already, with a private pipeline that ends with the command."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from karma import plugins
from karma.config.atomic_file import write_private
from karma.config.environment import Environment, sqlite_url
from karma.config.home import make_private
from karma.config.parts import check_judges
from karma.config.pool import Pool
from karma.errors import KarmaError, SettingsError
from karma.store import Store
from karma.store.database import COUNTING_S
from karma.store.export_filter import ExportFilter
from karma.store.requeue import bring_back, requeue_dead, requeue_incomplete, requeue_unscored
from karma.telemetry.escaping import escape_control
from karma_cli.commands.doctor.checkup import check_all
from karma_cli.commands.export.command import FORMATS
from karma_cli.commands.judge.answers import Answers
from karma_cli.commands.judge.judging_pool import judging_pool
from karma_cli.local.supervisor import Supervisor
from karma_cli.options import PoolOption, open_store, read_environment
from karma_cli.output import Output, warn, with_format_flags
from karma_cli.progress import count_lines, progress, track, wait_for_prompts, working
from karma_cli.refusals import print_refusals
from karma_cli.stream_end import endpoint_notice
from karma_gateway import exports
from karma_gateway.exports.files import check_out
from karma_gateway.sources import files
from karma_monitor.queries.finished import Finished, finished_since
from karma_scoring.withdrawal import withdrawal

_STREAM = "default"
#: In the home; not `pool.toml`, which may be the user's own.
_POOL_NAME = "judge-pool.toml"


@with_format_flags
def judge(
    output: Output,
    source: Annotated[
        str, typer.Argument(metavar="FILE|-", help="Prompts with responses, in any form; - for standard input.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="*.jsonl or *.parquet.")],
    exporter: Annotated[str, typer.Option("--as", help=f"Format of the export: {FORMATS}")] = "trl-dpo",
    pairs: Annotated[int, typer.Option("--pairs", min=0, help="Most pairs per prompt; 0: every pair.")] = 1,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Call each judge once before anything is judged.")
    ] = True,
    pool: PoolOption = None,
    home: Annotated[
        Path | None,
        typer.Option(
            "--home",
            help="Keep everything in this folder; the same command then goes on where it stopped.",
            show_default="a temporary one",
        ),
    ] = None,
) -> None:
    """Judge answers that exist already, and write the preferences. Nothing is generated.

    A line has `prompt` or `messages`, and `responses`: {"model-a": "text", "model-b": "text"}; or the file is any other
    that `karma enqueue` recognizes, with responses. The judges are those of
    the pool file; every pair gets a verdict, whatever the goal of its streams.

    It needs no `karma up`: Redis and the workers run in a home of their own until it ends. With --home, calls that
    failed are made again when the same command runs again, and nothing is paid for twice.

    `-q` prints the path of the file.
    """
    given = read_environment(None, pool)
    named = Pool.read(given.pool_path)
    check_judges(named, [one.name for one in named.stream_judges(_STREAM)])
    plugins.check("exporters", exporter)
    check_out(out)
    _check_keys(named)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C
    with ExitStack() as stack:
        own = stack.enter_context(_home(home))
        try:
            _judge(output, _environment(given, own), named, source, out, exporter, pairs, check, kept=home is not None)
        except KeyboardInterrupt:
            goes_on = "the same command goes on" if home else "without --home nothing is kept"
            raise KarmaError(f"stopped; {goes_on}") from None


def _judge(
    output: Output,
    env: Environment,
    named: Pool,
    source: str,
    out: Path,
    exporter: str,
    pairs: int,
    check: bool,
    kept: bool,
) -> None:
    with ExitStack() as stack:
        store = stack.enter_context(closing(open_store(env, promised=True)))
        answers = Answers(store, _STREAM, named.pipeline.prompt_bytes)
        with progress(output, hidden=source == "-" and sys.stdin.isatty()) as bar:
            total = count_lines(source) if source.endswith(".jsonl") and not bar.disable else None
            items = files.read_files(files.files_of(source), named.pipeline.prompt_bytes)
            answers.take(track(items, bar, "rows read", total, len), print_refusals)
        receipt = answers.receipt
        for said in answers.reader.sentences():
            output.note(escape_control(said))
        output.note(f"{receipt.accepted} accepted, {receipt.present} already present, {len(receipt.refused)} refused")
        if not receipt.accepted + receipt.present:
            if receipt.refused:
                raise SettingsError(f"{source} holds no prompt with two responses")
            warn(f"{source} holds no prompt")
            return
        kinds = requeue_dead, partial(requeue_incomplete, withdrawal(named)), requeue_unscored
        again = sum(sum(bring_back(store, kind, _STREAM)) for kind in kinds)
        if again:
            output.note(f"{again} prompts with failed calls are judged again")
        write_private(env.pool_path, judging_pool(named, pairs, answers.one_model))
        own = Pool.read(env.pool_path)
        if check:
            _check(output, own)
        with working(output, "starting Redis and the workers") as show:
            supervisor = stack.enter_context(Supervisor(env, own).run(show))
        with progress(output) as bar:
            watches = [lambda: supervisor.check(warn), endpoint_notice(env, own)]
            wait_for_prompts(store, bar, [_STREAM], on_poll=watches)
        finished = _finished(store, own)
        count = _export(store, own, exporter, out) if finished.outcomes["decisive"] else 0
    for sentence in finished.sentences(when=""):
        output.note(sentence)
    if finished.failed and not kept:
        output.note("with --home FOLDER, the same command would make only the failed calls again")
    output.note(f"{count} preferences" if count else f"no preference was found, so {out} is not written")
    counts = {"accepted": receipt.accepted, "present": receipt.present, "refused": len(receipt.refused)}
    data = {"path": str(out) if count else None, "preferences": count, **counts, "finished": finished.data()}
    output.result(data, escape_control(str(out)) if count else None, [out] if count else [])
    if receipt.refused or finished.failed or not count:
        raise typer.Exit(1)


@contextmanager
def _home(home: Path | None) -> Iterator[Path]:
    """The folder of this run; a temporary one is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="karma-judge-")) if home is None else home.resolve()
    try:
        make_private(folder)
        yield folder
    finally:
        if home is None:
            shutil.rmtree(folder, ignore_errors=True)


def _environment(given: Environment, home: Path) -> Environment:
    """The environment of a home with a SQLite store and an embedded Redis, whatever the variables name."""
    return replace(
        given,
        home=home,
        pool_path=home / _POOL_NAME,
        redis_url=None,
        database_url=sqlite_url(home / "karma.db"),
        database_password=None,
    )


def _check_keys(pool: Pool) -> None:
    for one in pool.stream_judges(_STREAM):
        variable = one.model.api_key_env if one.model is not None else None
        if variable and not os.environ.get(variable, "").strip():
            raise SettingsError(f"the judge {one.name} needs a key: set the variable {variable} (api_key_env) here")


def _check(output: Output, pool: Pool) -> None:
    """Call each judge once.

    Raises:
        KarmaError: one does not work.
    """
    specs = pool.stream_judges(_STREAM)
    with working(output, "calling the judges"):
        checked = check_all(pool, specs, quick=True, flags=())
    broken = [found for one in checked for found in one.findings if found.severity == "error"]
    if broken:
        raise KarmaError("; ".join(f"the judge {one.name} does not work: {one.read} ({one.help})" for one in broken))


def _finished(store: Store, pool: Pool) -> Finished:
    with store.reading(COUNTING_S) as transaction:
        return finished_since(transaction.ledger.connection, _STREAM, 0.0, pool.prices)


def _export(store: Store, pool: Pool, exporter: str, out: Path) -> int:
    rows = exports.rows(store, exporter, ExportFilter.usual(_STREAM), False, pool.prices, pool.tie_margin)
    exports.write(rows, out, remark=warn)
    for sentence in rows.reader.left_out():
        warn(sentence)
    return rows.preferences
