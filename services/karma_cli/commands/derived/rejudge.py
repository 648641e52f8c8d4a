"""`karma rejudge`: have stored pairs judged by other judges, and compare the labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Group

from karma.config.pool import Pool
from karma.errors import SettingsError
from karma.queue.celery_app import queue_name
from karma.queue.heartbeats import WorkerInfo, workers
from karma_cli.commands.derived.streams import comparison, count_states, derive_all, say_unfinished, unfinished_of
from karma_cli.options import HomeOption, open_store, read_environment, redis_if_any
from karma_cli.output import Output, with_format_flags
from karma_gateway.rematch import rejudged
from karma_monitor.figures.rematch import LabelChange, compare, label_change


@with_format_flags
def rejudge(
    output: Output,
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="The stream whose pairs are judged again.")],
    judge: Annotated[
        list[str], typer.Option("--judge", help="A judge of the pool file; repeat it for a jury of several.")
    ],
    teach: Annotated[bool, typer.Option("--teach", help="Let the verdicts update the competencies.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until every prompt has finished.")] = True,
    home: HomeOption = None,
) -> None:
    """Have the stored pairs of a stream judged by other judges, and compare the labels.

    Nothing is generated and no other pair is formed. The stream keeps its verdicts; those of the named judges, and the
    labels by them, are in a stream of their own. Also pairs that a judge budget had left out are judged. Running the
    same command again adds the pairs that are new.

    `-q` prints the name of the derived stream.
    """
    env = read_environment(home)
    pool = Pool.read(env.pool_path)
    derived = rejudged(stream, judge, teach, pool)
    if (redis := redis_if_any(env)) is not None:
        check_gateways(workers(redis), pool, judge)
    with closing(open_store(env, promised=True)) as store:
        counts = derive_all(output, env, store, stream, [derived], wait)
        states = count_states(store, [derived.name])
        compared = compare(store, [derived], pool.tie_margin)
        change = label_change(store, derived)
    figures = {**asdict(counts[derived.name]), **compared[derived.name], "labels": asdict(change)}
    data = {"stream": stream, "unfinished": unfinished_of(states), "derived": derived.name, **figures}
    output.result(data, Group(comparison(compared, "judged again"), sentence(change)), [derived.name])
    say_unfinished(output, states)


def check_gateways(alive: Iterable[WorkerInfo], pool: Pool, judges: Sequence[str]) -> None:
    """Refuse judges that what runs does not know as the pool file has them: their prompts would end as dead, or wait.

    Args:
        alive: the workers; of gateways of earlier versions nothing is known.
        pool: as the command has read it.
        judges: that are to judge.

    Raises:
        SettingsError: names the judge, and what helps.
    """
    for gateway in alive:
        if gateway.service != "gateway" or gateway.state != "ready" or not gateway.specifications:
            continue
        for judge in judges:
            known = gateway.specifications.get(queue_name("judge", judge))
            if known != pool.judge_fingerprints[judge]:
                what = "does not have the judge" if known is None else "has other settings of the judge"
                raise SettingsError(
                    f"the gateway that runs {what} {judge!r}, as it read {pool.path} before a change. Restart it "
                    "(karma down, then karma up), and give this command again"
                )


def sentence(change: LabelChange) -> str:
    """How the labels differ from those of the base, for people."""
    if not change.pairs:
        return "No pair is resolved in both streams yet."
    same = "" if change.agreement is None else f" ({100 * change.agreement:.1f} %)"
    return (
        f"Of {change.pairs:,} pairs resolved in both streams, {change.both_decisive:,} are preferences in both, and "
        f"{change.same:,} of these{same} have the same chosen response; {change.gained:,} are preferences only now, "
        f"{change.lost:,} were ones only before."
    )
