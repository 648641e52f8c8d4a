"""`karma pause` and `karma resume`: stop admitting prompts, and admit them again."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from karma.store.schema import EVERYTHING
from karma.store.streams import check_stream, paused, stream_names
from karma.store.streams import pause as pause_stream
from karma.store.streams import resume as resume_stream
from karma_cli.options import HomeOption, open_store, read_environment, wake_gateway
from karma_cli.output import Output, warn, with_format_flags

StreamArgument = Annotated[
    str | None, typer.Argument(metavar="STREAM", help="The stream. Default: all.", show_default=False)
]


@with_format_flags
def pause(output: Output, stream: StreamArgument = None, home: HomeOption = None) -> None:
    """Stop admitting prompts, of one stream or of all.

    Admitted prompts still finish. `karma resume` admits prompts again.

    `-q` prints the paused streams.
    """
    with closing(open_store(read_environment(home), promised=True)) as store, store.transaction() as transaction:
        connection = transaction.ledger.connection
        changed = pause_stream(connection, stream, transaction.ledger.now)
        known = stream is None or stream_names(connection, 1, stream)
        now = list(paused(connection))
    if not known:
        warn(f"the stream {stream!r} has no prompt yet; it is paused all the same")
    output.note(f"{_named(stream)} {'is paused' if changed else 'was already paused'}")
    output.result({"paused": now, "changed": changed}, None, now)


@with_format_flags
def resume(output: Output, stream: StreamArgument = None, home: HomeOption = None) -> None:
    """Admit prompts again, of one stream or of all.

    `-q` prints the streams that are still paused.
    """
    env = read_environment(home)
    with closing(open_store(env, promised=True)) as store, store.transaction() as transaction:
        changed = resume_stream(transaction.ledger.connection, stream)
        if not changed:
            check_stream(transaction.ledger.connection, stream)
        now = list(paused(transaction.ledger.connection))
    wake_gateway(env)
    if stream is not None and EVERYTHING in now:
        warn("everything is paused, this stream too; `karma resume` resumes everything")
    else:
        output.note(f"{_named(stream)} {'resumed' if changed else 'was not paused'}")
    output.result({"paused": now, "changed": changed}, None, now)


def _named(stream: str | None) -> str:
    return "everything" if stream is None else f"the stream {stream}"
