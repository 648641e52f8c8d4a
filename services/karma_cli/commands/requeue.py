"""`karma failures` and `karma requeue`: why calls and prompts failed, and another attempt at them."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from karma.store.database import COUNTING_S
from karma.store.requeue import What
from karma.store.requeue import requeue as requeue_prompts
from karma.store.schema import prompts
from karma.store.streams import check_stream
from karma_cli.options import (
    HomeOption,
    StreamOption,
    open_store,
    open_store_to_read,
    pool_if_any,
    read_environment,
    wake_gateway,
)
from karma_cli.output import Output, reason_table, with_format_flags
from karma_cli.progress import progress
from karma_monitor.queries.failures import reasons
from karma_scoring.withdrawal import withdrawal


@with_format_flags
def failures(
    output: Output,
    stream: Annotated[str | None, typer.Argument(metavar="STREAM", help="Only this stream. Default: all.")] = None,
    home: HomeOption = None,
) -> None:
    """Show why calls and prompts failed, by model and judge, and what helps.

    One row per reason, with the number of failed calls and an example. Of dead prompts the name is that of the stream.

    `-q` prints the examples, the most frequent first.
    """
    env = read_environment(home)
    with closing(open_store_to_read(env)) as store, store.reading(COUNTING_S) as transaction:
        connection = transaction.ledger.connection
        check_stream(connection, stream)
        found = reasons(connection, None if stream is None else prompts.c.stream == stream)
    data = [reason.data() for reason in found]
    shown = reason_table(data, "failures") if data else None
    if not data:
        output.note("nothing has failed")
    output.result({"reasons": data}, shown, [reason.example for reason in found])


@with_format_flags
def requeue(
    output: Output,
    what: Annotated[
        What,
        typer.Argument(
            metavar="dead|failed|all", help="Dead prompts, or failed calls: no pair, unscored pairs, missing verdicts."
        ),
    ] = "all",
    stream: StreamOption = None,
    home: HomeOption = None,
) -> None:
    """Retry dead prompts and failed calls.

    A prompt resumes where it failed. Responses and verdicts that exist are kept and not paid for again. Where one of
    several judges failed for a reason that may have passed, its verdict is asked for again; until it is given, the pair
    has no label, and then one by all judges. That needs the pool file.

    `-q` prints the number of requeued prompts.
    """
    env = read_environment(home)
    pool = pool_if_any(env)
    withdraw = None if pool is None else withdrawal(pool)
    with closing(open_store(env, promised=True)) as store, progress(output) as bar:
        with store.reading() as transaction:
            check_stream(transaction.ledger.connection, stream)
        task = bar.add_task("prompts requeued", total=None)
        counts = requeue_prompts(store, what, withdraw, stream, lambda requeued: bar.advance(task, requeued))
    if any(counts.values()):
        wake_gateway(env)
    output.note(
        f"requeued: {counts['dead']} dead, {counts['without_pair']} without a pair, "
        f"{counts['unscored']} with unscored pairs, {counts['missing_verdicts']} with missing verdicts"
    )
    if pool is None and what != "dead":
        output.note(f"missing verdicts were not looked for, as that needs the pool file {env.pool_path}")
    output.result(counts, None, [sum(counts.values())])
