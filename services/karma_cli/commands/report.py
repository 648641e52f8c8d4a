"""`karma report`: write an HTML report."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from karma.errors import SettingsError
from karma.store.streams import check_stream
from karma_cli.options import HomeOption, StreamOption, open_store_to_read, pool_if_any, read_environment
from karma_cli.output import Output, with_format_flags
from karma_cli.progress import working
from karma_monitor.report import write as write_report


@with_format_flags
def report(
    output: Output,
    path: Annotated[Path, typer.Argument(metavar="OUT.html", help="The file to write.")],
    stream: StreamOption = None,
    home: HomeOption = None,
) -> None:
    """Write an HTML report: the page with its data in one file. It needs no network.

    `-q` prints the path of the file.
    """
    if str(path) == "-":
        raise SettingsError("a report is a file: name one, such as report.html")
    if not path.parent.is_dir():
        raise SettingsError(f"{path}: there is no folder {path.parent}; make it first")
    env = read_environment(home)
    with closing(open_store_to_read(env)) as store, working(output, f"writing {path}"):
        with store.reading() as transaction:
            check_stream(transaction.ledger.connection, stream)
        write_report(store, pool_if_any(env), path, stream)
    output.result({"path": str(path)}, str(path), [path])
