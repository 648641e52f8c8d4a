"""`karma requeue`: retry dead prompts and failed calls."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated, Literal

import typer

from karma.store.requeue import bring_back, requeue_dead, requeue_unanswered, requeue_unscored
from karma_cli.options import HomeOption, StreamOption, open_store, read_environment, wake_gateway
from karma_cli.output import Output, with_format_flags
from karma_cli.progress import progress


@with_format_flags
def requeue(
    output: Output,
    what: Annotated[
        Literal["dead", "failed", "all"],
        typer.Argument(metavar="dead|failed|all", help="Dead prompts, or failed calls: no pair, or unscored pairs."),
    ] = "all",
    stream: StreamOption = None,
    home: HomeOption = None,
) -> None:
    """Retry dead prompts and failed calls.

    A prompt resumes where it failed. Responses and verdicts that exist are kept and not paid for again.

    `-q` prints the number of requeued prompts.
    """
    env = read_environment(home)
    kinds = {"dead": requeue_dead, "without_pair": requeue_unanswered, "unscored": requeue_unscored}
    chosen = {"dead": ["dead"], "failed": ["without_pair", "unscored"], "all": list(kinds)}[what]
    counts = dict.fromkeys(kinds, 0)
    with closing(open_store(env, promised=True)) as store, progress(output) as bar:
        task = bar.add_task("prompts requeued", total=None)
        for kind in chosen:
            for requeued in bring_back(store, kinds[kind], stream):
                counts[kind] += requeued
                bar.advance(task, requeued)
    if any(counts.values()):
        wake_gateway(env)
    output.note(
        f"requeued: {counts['dead']} dead, {counts['without_pair']} without a pair, "
        f"{counts['unscored']} with unscored pairs"
    )
    output.result(counts, None, [sum(counts.values())])
