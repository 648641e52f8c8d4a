"""`karma validate`: what trainers would stumble over in a preference file, named by row."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from karma.errors import SettingsError
from karma.plugins.registry import EXPORTERS
from karma.telemetry.escaping import escape_control
from karma_cli.options import MaxLengthOption, TokenizersOption
from karma_cli.output import Output, with_format_flags
from karma_cli.progress import progress, track
from karma_validation.reading import Read
from karma_validation.tokens import TokenCount
from karma_validation.validate import EXAMPLES, Report
from karma_validation.validate import validate as validated

#: Rows of a kind that the table names.
_SHOWN = 3


@with_format_flags
def validate(
    output: Output,
    path: Annotated[Path, typer.Argument(metavar="DIR|FILE", help="*.jsonl, *.parquet, or a folder of such.")],
    expected: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="FORMAT",
            help=f"The format that rows must have, instead of the one whose columns they have: {', '.join(EXPORTERS)}.",
        ),
    ] = None,
    examples: Annotated[
        int, typer.Option("--rows", min=1, help="Most rows that --json and -q name for each kind of problem.")
    ] = EXAMPLES,
    tokenizers: TokenizersOption = None,
    max_length: MaxLengthOption = None,
) -> None:
    """Check a preference file of any origin for what trainers would stumble over. It needs no store.

    Errors are what stops a training or spoils it silently; the exit code is 1 if there is one. Warnings are what may be
    meant. docs/training_data.md lists the kinds.

    `-q` prints one line per row and kind: FILE:ROW KIND.
    """
    tokens = counts_of(tokenizers, max_length)
    with progress(output) as bar:

        def seen(rows: Iterable[Read]) -> Iterable[Read]:
            return track(rows, bar, "rows checked", None)

        report = validated(path, expected, examples, tokens, seen)
    places = [f"{place} {problem.kind}" for problem in report.problems for place, _found in problem.examples]
    output.result(report.data(), _shown(report), places)
    for count in tokens:
        output.note(token_sentence(count))
    errors, warnings = report.problems.count("error"), report.problems.count("warning")
    formats = sorted({" or ".join(names) for names in report.files.values() if names})
    output.note(
        f"{report.rows} rows of {', '.join(formats) or 'no known format'}: {errors} errors, {warnings} warnings"
    )
    if errors:
        raise typer.Exit(1)


def counts_of(tokenizers: list[str] | None, max_length: int | None) -> list[TokenCount]:
    """What counts tokens, as the options ask for.

    Raises:
        SettingsError: one option is given without the other.
    """
    if bool(tokenizers) != (max_length is not None):
        raise SettingsError("--count-tokens TOKENIZER and --max-length N belong together; give both")
    return [TokenCount(name, max_length or 0) for name in tokenizers or ()]


def token_sentence(count: TokenCount) -> str:
    """What trainers do with the rows that are too long."""
    return (
        f"{count.name}, {count.max_length} tokens: TRL's DPO and KTO drop {count.dropped_by_dpo} of {count.rows} rows "
        f"and cut {count.cut_by_dpo}, its RewardTrainer drops {count.dropped_by_reward}; "
        f"the longest has {count.longest}"
    )


def _shown(report: Report) -> Group | None:
    """The problems as a table, with the first rows of each kind."""
    problems = list(report.problems)
    if not problems:
        return None
    table = Table("problem", "rows", "first rows", "what it does", title="problems", title_justify="left")
    for problem in problems:
        rows = "\n".join(f"{place}: {found}" for place, found in problem.examples[:_SHOWN])
        table.add_row(
            f"{problem.kind} ({problem.severity})",
            f"{problem.count:,}",
            Text(escape_control(rows, lines=True)),
            problem.meaning,
        )
    return Group(table)
