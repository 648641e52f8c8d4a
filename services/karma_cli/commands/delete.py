"""`karma delete`: deletes a stream with all its data."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import Annotated

import typer

from karma.errors import SettingsError
from karma.store.database import COUNTING_S
from karma.store.deletion import Data, data_of, delete_stream, family
from karma.store.streams import check_stream
from karma.telemetry.escaping import escape_control
from karma_cli.options import HomeOption, open_store, pool_if_any, read_environment
from karma_cli.output import Output, warn, with_format_flags
from karma_cli.progress import progress
from karma_scoring.withdrawal import withdrawal


@with_format_flags
def delete(
    output: Output,
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="The stream.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be deleted.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: HomeOption = None,
) -> None:
    """Delete a stream with all its data.

    Prompts, responses, pairs, verdicts and labels go, the streams derived from it, and what competencies learned from
    all that; for the last the pool file is needed. What the calls cost stays in the sums of all streams, without the
    stream's name. The pipeline may run. Exports that were written stay where they are.

    `-q` prints the number of deleted prompts.
    """
    env = read_environment(home)
    pool = pool_if_any(env)
    with closing(open_store(env, promised=True)) as store:
        with store.reading(COUNTING_S) as transaction:
            connection = transaction.ledger.connection
            check_stream(connection, stream)
            names = family(connection, stream)
            data = data_of(connection, names)
        summary = _summary(names, data)
        if dry_run:
            output.note(f"would delete {summary}")
        else:
            if not yes:
                _ask(summary)
            with progress(output) as bar:
                task = bar.add_task("prompts deleted", total=data.prompts)
                for name in names:
                    for deleted in delete_stream(store, name, None if pool is None else withdrawal(pool)):
                        bar.advance(task, deleted)
            output.note(f"deleted {summary}")
            if pool is None and data.pairs:
                warn(f"competencies keep what they learned, as there is no pool file {env.pool_path}")
    result = {"streams": names, **data._asdict(), "dry_run": dry_run}
    output.result(result, None, [data.prompts])


def _ask(summary: str) -> None:
    """Ask whether to go on; the answer no ends the command.

    Raises:
        SettingsError: there is nobody to ask.
    """
    if not sys.stdin.isatty():
        raise SettingsError(f"would delete {summary}; add --yes to delete it, or --dry-run to look only")
    typer.confirm(f"Delete {summary}?", abort=True, err=True)


def _summary(names: list[str], data: Data) -> str:
    derived = f" with {', '.join(names[:-1])}" if len(names) > 1 else ""
    counts = ", ".join(f"{count:,} {name}" for name, count in data._asdict().items())
    return escape_control(f"the stream {names[-1]}{derived}: {counts}")
