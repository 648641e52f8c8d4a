"""`karma rematch`: pair stored responses by other policies, have the pairs judged, and compare the policies."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from karma.errors import KarmaError
from karma.store import Store
from karma.telemetry.escaping import escape_control
from karma_cli.options import HomeOption, open_store, pool_if_any, read_environment, wake_gateway
from karma_cli.output import Output, with_format_flags
from karma_cli.progress import WorkerWatch, progress, wait_for_prompts
from karma_gateway.rematch import derivations, derive
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
        counts = {}
        with progress(output) as bar:
            total = sum(_states(store, [stream]).values()) or None
            for derivation in derived:
                task = bar.add_task(f"{escape_control(derivation.name)}: prompts copied", total=total)
                counts[derivation.name] = derive(store, derivation, partial(bar.advance, task))
        for name, count in counts.items():
            left_out = f"{count.left_open} unfinished, {count.left_too_few} with fewer than two usable responses"
            output.note(f"{name}: {count.added} prompts added, {count.present} already present; left out: {left_out}")
        wake_gateway(env)
        if wait:
            watch = WorkerWatch(env)
            watch()
            with progress(output) as bar:
                wait_for_prompts(store, bar, list(counts), on_poll=[watch])
        states = _states(store, list(counts))
        compared = compare(store, derived, pool.tie_margin if pool else default_margin)
    streams = {name: {**asdict(counts[name]), **values} for name, values in compared.items()}
    unfinished = sum(count for state, count in states.items() if state not in ("done", "dead"))
    data = {"stream": stream, "unfinished": unfinished, "streams": streams}
    output.result(data, comparison(compared), list(compared))
    if unfinished:
        output.note(f"{unfinished} prompts are unfinished; run the same command again to compare again")
    if dead := states["dead"]:
        raise KarmaError(f"{dead} prompts are dead and not in the comparison; `karma requeue dead` retries them")


#: Rows of the comparison: figure, title, format.
_ROWS = (
    ("prompts", "prompts", ",.0f"),
    ("without_pair", "  without a pair", ",.0f"),
    ("pairs", "pairs", ",.0f"),
    ("open", "  unresolved", ",.0f"),
    ("judge_calls", "judge calls", ",.0f"),
    ("judge_calls_saved", "  fewer than in both orders", ",.0f"),
    ("judge_tokens", "judge tokens", ",.0f"),
    ("decisive", "decisive pairs", ",.0f"),
    ("predicted", "  with a predicted label", ",.0f"),
    ("decisive_per_prompt", "decisive pairs per prompt", ",.3f"),
    ("decisive_per_call", "decisive pairs per judge call", ",.3f"),
    ("bits_per_pair", "information per pair, bits", ",.3f"),
    ("bits_per_call", "information per judge call, bits", ",.3f"),
    ("tie_share", "ties, of resolved pairs", ".1%"),
    ("inconsistent_share", "inconsistent, of resolved pairs", ".1%"),
    ("flip_share", "order flips, of pairs judged in both orders", ".1%"),
    ("length_ratio", "length of chosen ÷ rejected (geometric mean)", ",.2f"),
    ("label_error", "wrong labels, of labels with a reference", ".1%"),
    ("referenced", "  labels with a reference", ",.0f"),
)


def comparison(compared: dict[str, dict[str, float | int | None]]) -> RenderableType:
    """One column per derived stream; – for a figure that is undefined."""
    table = Table(title="policies compared", title_justify="left")
    table.add_column("")
    for name in compared:
        table.add_column(Text(escape_control(name)), justify="right", no_wrap=True)
    for key, title, form in _ROWS:
        values = (stream[key] for stream in compared.values())
        table.add_row(title, *("–" if value is None else f"{value:{form}}".replace("%", " %") for value in values))
    return table


def _states(store: Store, streams: Sequence[str]) -> dict[str, int]:
    with store.reading() as transaction:
        return transaction.ledger.count_states(streams)
