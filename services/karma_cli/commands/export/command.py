"""`karma export`: write the preferences as a training dataset."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from karma.config.splits import WHOLE, Splits
from karma.errors import SettingsError
from karma.plugins.registry import EXPORTERS
from karma.store.export_filter import LEAST_PREDICTED, ExportFilter
from karma.store.streams import check_stream
from karma.telemetry.escaping import escape_json
from karma_cli.commands.export.push import check_push, push
from karma_cli.commands.export.stopping import until_stopped
from karma_cli.commands.export.to_folder import to_folder
from karma_cli.commands.validate import counts_of, token_sentence
from karma_cli.options import (
    HomeOption,
    MaxLengthOption,
    StreamOption,
    TokenizersOption,
    open_store_to_read,
    pool_if_any,
    read_environment,
)
from karma_cli.output import Output, warn, with_format_flags
from karma_cli.progress import progress, track
from karma_gateway import exports
from karma_gateway.exports.columns import Columns, Row, hold
from karma_gateway.exports.files import json_line, mixed_lines
from karma_gateway.exports.folder import PART_PREFERENCES, Layout, is_folder
from karma_gateway.exports.tail import Tail
from karma_validation.validate import validate

#: The formats, as the help names them.
FORMATS = f"{', '.join(EXPORTERS)}, or a plug-in's."


#: Seconds between two looks for new preferences.
_POLL_S = 1.0


@with_format_flags
def export(
    output: Output,
    exporter: Annotated[str, typer.Argument(metavar="FORMAT", help=FORMATS)],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="A folder, *.jsonl, *.parquet, or - for JSON Lines on stdout.")
    ],
    stream: StreamOption = None,
    label_source: Annotated[
        Literal["judge", "predicted"] | None,
        typer.Option("--label-source", help="Only judged labels, or only labels predicted under a judge budget."),
    ] = None,
    least_probability: Annotated[
        float | None,
        typer.Option(
            "--min-probability",
            min=0.5,
            max=1.0,
            help="Only preferences at least this certain; by default, judged ones, predicted ones of at least "
            f"{LEAST_PREDICTED}, and under the goals train and reward those that were sure. Of a predicted one, the "
            "probability of a tie is taken off.",
        ),
    ] = None,
    max_length_ratio: Annotated[
        float | None,
        typer.Option(
            "--max-length-ratio",
            min=1.0,
            help="Leave out preferences whose longer response has more than this many times the characters of the "
            "shorter one.",
        ),
    ] = None,
    finished: Annotated[
        bool, typer.Option("--finished", help="Leave out preferences with a response that was cut or filtered.")
    ] = False,
    policies: Annotated[
        list[str] | None, typer.Option("--policy", help="Only pairs formed by this policy; may be repeated.")
    ] = None,
    skills: Annotated[
        list[str] | None, typer.Option("--skill", help="Only prompts with this skill; may be repeated.")
    ] = None,
    distinct: Annotated[
        bool, typer.Option("--dedup", help="Of preferences with the same prompt and responses, keep the first.")
    ] = False,
    bare: Annotated[bool, typer.Option("--bare", help="Leave out KARMA's own columns.")] = False,
    split: Annotated[
        str | None,
        typer.Option(
            "--split", metavar="NAME=SHARE,…", help="Of a folder: its splits by prompt, for example train=.9,test=.1."
        ),
    ] = None,
    part_preferences: Annotated[
        int, typer.Option("--part-preferences", min=1, help="Of a folder: most preferences in a Parquet file.")
    ] = PART_PREFERENCES,
    files: Annotated[
        Literal["parquet", "jsonl"], typer.Option("--files", help="Of a folder: the kind of its files.")
    ] = "parquet",
    licence: Annotated[
        str | None, typer.Option("--license", help="Of a folder: the licence that its card names.")
    ] = None,
    follow: Annotated[
        bool,
        typer.Option("--follow", help="Of a folder or -: go on with what is resolved later, until Ctrl-C or SIGTERM."),
    ] = False,
    every_s: Annotated[
        float, typer.Option("--every", min=0.1, help="With --follow: seconds between two parts of a folder.")
    ] = 60.0,
    repository: Annotated[
        str | None,
        typer.Option("--push", metavar="REPO", help="Of a folder: upload it to this data set of the Hugging Face hub."),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="With --push: a data set that is made can be read by all.")
    ] = False,
    tokenizers: TokenizersOption = None,
    max_length: MaxLengthOption = None,
    home: HomeOption = None,
) -> None:
    """Write the preferences as a training dataset.

    A folder has a dataset card with the origin of the data, and opens with load_dataset("FOLDER"). One export that was
    stopped goes on where it stopped when the same command runs again; a second format in the same folder is a second
    configuration.

    Derived streams (STREAM@POLICY) are left out unless one is named. A file that exists is replaced, but never by an
    empty export. Preferences that the format has no place for are left out, counted by reason, and the exit code is 1.

    `-q` prints the path of the file.
    """
    env = read_environment(home)
    # Only prices and tie margins come from the pool file: a copied store exports without it.
    pool = None if bare else pool_if_any(env)
    from_pool = (pool.prices, pool.tie_margin) if pool else ()
    kept = replace(
        ExportFilter.usual(stream),
        label_source=label_source,
        max_length_ratio=max_length_ratio,
        finished=finished,
        policies=tuple(policies or ()),
        skills=tuple(skills or ()),
        distinct=distinct,
    )
    if least_probability is not None:
        kept = replace(kept, least_probability=least_probability, least_predicted=least_probability, least_sure=None)
    to_stdout, to_a_folder = str(out) == "-", str(out) != "-" and is_folder(out)
    counts = counts_of(tokenizers, max_length)
    only_folders = {
        "--split": split is not None,
        "--push": repository is not None,
        "--follow": follow and not to_stdout,
    }
    _check_options(out, to_a_folder, [name for name, is_set in only_folders.items() if is_set])
    if follow and files == "jsonl":
        raise SettingsError("--follow adds Parquet files to a folder; leave out --files jsonl")
    if counts and to_stdout:
        raise SettingsError("--count-tokens reads what is written; name a file or a folder instead of -")
    if repository is not None:
        check_push()
    layout = Layout(Splits.parse(split) if split else WHOLE, f".{files}", part_preferences)
    # Rows printed on the terminal leave no room for a bar.
    with closing(open_store_to_read(env)) as store, progress(output, hidden=to_stdout and sys.stdout.isatty()) as bar:
        with store.reading() as transaction:
            check_stream(transaction.ledger.connection, stream)
            uncertain = transaction.preferences.uncertain_labels(kept) if label_source != "judge" else 0
            too_unequal = transaction.preferences.too_unequal(kept)
        total = None if bar.disable else exports.expected(store, kept)
        rows = exports.rows(store, exporter, kept, bare, *from_pool)
        tracked = track(rows, bar, "rows written", total)
        if to_stdout:
            _follow(rows) if follow else _print_rows(tracked, rows.columns, rows.reader.mixed)
        elif to_a_folder:
            every = every_s if follow else None
            tally = to_folder(store, pool_if_any(env), rows.reader, out, layout, licence, bar, total, every)
            rows.preferences, rows.predicted = tally.preferences, tally.counts["label_source"]["predicted"]
        else:
            exports.write(tracked, out, rows.columns, warn, rows.reader.mixed)
    labels = f", {rows.predicted} of them predicted" if rows.predicted else ""
    left_out = f"; {uncertain} predicted labels below {kept.least_predicted:g} left out" if uncertain else ""
    left_out += f"; {too_unequal} with lengths beyond {max_length_ratio:g} to 1 left out" if too_unequal else ""
    output.note(f"{rows.preferences} preferences{labels}{left_out}")
    if counts:
        # It reads the files again, so that what is counted is what trainers read.
        validate(out / exporter if to_a_folder else out, examples=1, tokens=counts)
        for count in counts:
            output.note(token_sentence(count))
    pushed = push(out, repository, public) if repository is not None else None
    if pushed:
        output.note(f"pushed to {pushed}")
    _finish(output, rows, None if to_stdout else out, {"pushed": pushed, "tokens": [one.data() for one in counts]})


def _check_options(out: Path, to_a_folder: bool, names: list[str]) -> None:
    """Refuse options of folders where the export is none.

    Raises:
        SettingsError: there are such options.
    """
    if names and not to_a_folder:
        example = f", for example {out.with_suffix('')}" if out.suffix else ""
        raise SettingsError(f"{', '.join(names)}: {out} is no folder. Name a folder{example}")


def _finish(output: Output, rows: exports.Rows, out: Path | None, more: dict[str, Any]) -> None:
    """Say what a user must know of the export, and print its result."""
    reader = rows.reader
    if reader.note:
        output.note(f"{reader.exporter}: {reader.note}")
    for sentence in reader.left_out():
        warn(sentence)
    if out is not None:
        counts = {
            "preferences": rows.preferences,
            "predicted": rows.predicted,
            "repeated": reader.repeated,
            "unrepresentable": dict(reader.unrepresentable),
        }
        output.result({"path": str(out), **counts, **more}, str(out), [out])
    if reader.unrepresentable:
        raise typer.Exit(1)


def _print_rows(rows: Iterable[Row], columns: Columns | None, mixed: bool = False) -> None:
    """Print rows as JSON Lines; those of a mixed format once all of them are read."""
    on_terminal = sys.stdout.isatty()
    held = (row if columns is None else hold(row, columns) for row in rows)
    for line in mixed_lines(held) if mixed else map(json_line, held):
        print(escape_json(line) if on_terminal else line)


def _follow(rows: exports.Rows) -> None:
    """Print rows as they come, until the process is to stop."""
    reader = rows.reader
    if reader.mixed:
        raise SettingsError(f"rows of {reader.exporter} are mixed once all are read; --follow a folder instead of -")
    tail = Tail(reader, reader.newest())
    first = True
    with until_stopped() as wait:
        while True:
            for one in reader.read(known=tail) if first else tail.new():
                _print_rows(one.rows, rows.columns)
                rows.preferences += 1
                rows.predicted += one.is_predicted
            sys.stdout.flush()
            first = False
            if wait(_POLL_S):
                return
