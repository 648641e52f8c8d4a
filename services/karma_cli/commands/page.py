"""`karma page`, `karma pause`, `karma resume`."""

from __future__ import annotations

from typing import Annotated

import typer

from karma.store.schema import EVERYTHING
from karma.store.streams import pause as pause_stream
from karma.store.streams import paused, stream_names
from karma.store.streams import resume as resume_stream
from karma.worker.run import run_worker
from karma_cli.options import (
    HomeOption,
    Output,
    PoolOption,
    environment,
    formatted,
    open_store,
    wake_gateway,
    warn,
)
from karma_monitor.page.access import token_of, token_path

StreamArgument = Annotated[str | None, typer.Argument(metavar="[STREAM]", help="The stream. [default: everything]")]


def page(pool: PoolOption = None, home: HomeOption = None) -> None:
    """Serve the page by itself, over the store and, where one runs, Redis. `karma up` serves it already.

    KARMA_PAGE_HOST (127.0.0.1) and KARMA_PAGE_PORT (8080; 0: any free one) say where.
    """
    found = environment(home, pool)
    open_store(found).close()  # the page's process never migrates
    token_of(found.home)
    warn(f"to change anything on the page, the token is in {token_path(found.home)}. Ctrl-C stops it.")
    run_worker("page", [], found)


@formatted
def pause(output: Output, stream: StreamArgument = None, home: HomeOption = None) -> None:
    """Admit no more prompts, of a stream or at all. What was admitted goes on to its end; `karma resume` goes on.

    `-q` prints what is paused.
    """
    store = open_store(environment(home), promised=True)
    with store.transaction() as transaction:
        connection = transaction.ledger.connection
        changed = pause_stream(connection, stream, transaction.ledger.now)
        known = stream is None or stream_names(connection, 1, stream)
        now = list(paused(connection))
    store.close()
    if not known:
        warn(f"no prompt was accepted to the stream {stream!r} yet; it is paused all the same")
    output.say(f"{_named(stream)} {'is paused' if changed else 'was paused already'}")
    output.give({"paused": now, "changed": changed}, None, now)


@formatted
def resume(output: Output, stream: StreamArgument = None, home: HomeOption = None) -> None:
    """Admit prompts again, of a stream or of everything that is paused.

    `-q` prints what is still paused.
    """
    found = environment(home)
    store = open_store(found, promised=True)
    with store.transaction() as transaction:
        changed = resume_stream(transaction.ledger.connection, stream)
        now = list(paused(transaction.ledger.connection))
    store.close()
    wake_gateway(found)
    if stream is not None and EVERYTHING in now:
        warn("everything is paused, this stream too: karma resume goes on with everything")
    else:
        output.say(f"{_named(stream)} {'goes on' if changed else 'was not paused'}")
    output.give({"paused": now, "changed": changed}, None, now)


def _named(stream: str | None) -> str:
    return "everything" if stream is None else f"the stream {stream}"
