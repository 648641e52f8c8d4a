"""`karma rematch`: pair stored responses by other policies, have the pairs judged, and compare the policies."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import Annotated

import typer

from karma_cli.commands.derived.streams import comparison, count_states, derive_all, say_unfinished, unfinished_of
from karma_cli.options import HomeOption, open_store, pool_if_any, read_environment
from karma_cli.output import Output, with_format_flags
from karma_gateway.rematch import derivations
from karma_monitor.figures.quality import default_margin
from karma_monitor.figures.rematch import compare


@with_format_flags
def rematch(
    output: Output,
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="The stream whose responses are paired again.")],
    policy: Annotated[list[str], typer.Option("--policy", help="A matching policy; repeat it to compare several.")],
    pairs: Annotated[
        int | None, typer.Option("--pairs", min=0, help="Most pairs per prompt; 0: no limit. Default: the stream's.")
    ] = None,
    teach: Annotated[bool, typer.Option("--teach", help="Let the verdicts update the competencies.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until every prompt has finished.")] = True,
    home: HomeOption = None,
) -> None:
    """Pair stored responses by other policies, have the pairs judged, and compare the policies.

    Running the same command again adds nothing and compares again.

    `-q` prints the names of the derived streams.
    """
    env = read_environment(home)
    pool = pool_if_any(env)
    derived = derivations(stream, policy, pairs, teach)
    with closing(open_store(env, promised=True)) as store:
        counts = derive_all(output, env, store, stream, derived, wait)
        states = count_states(store, list(counts))
        compared = compare(store, derived, pool.tie_margin if pool else default_margin)
    streams = {name: {**asdict(counts[name]), **values} for name, values in compared.items()}
    data = {"stream": stream, "unfinished": unfinished_of(states), "streams": streams}
    output.result(data, comparison(compared, "policies compared"), list(compared))
    say_unfinished(output, states)
