"""`karma explain`, `karma report`, `karma rematch`."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from karma.config.environment import Environment
from karma.config.pool import Pool
from karma.errors import KarmaError, SettingsError
from karma.queue.heartbeats import workers
from karma.queue.redis import connect
from karma.store import Store
from karma_cli.options import HomeOption, Output, environment, formatted, open_store, wake_gateway, warn
from karma_cli.progress import progress, wait_for_end, working
from karma_gateway import rematch as rematching
from karma_monitor.escaping import escape_control
from karma_monitor.explain import explain as explain_pair
from karma_monitor.explanation import sentences
from karma_monitor.figures import rematch as comparing
from karma_monitor.figures.quality import TieMargin, default_margin
from karma_monitor.report import write as write_report


@formatted
def explain(
    output: Output,
    pair: Annotated[str, typer.Argument(metavar="PAIR", help="A pair's number, or the id that an export gives it.")],
    full: Annotated[bool, typer.Option("--full", help="Show prompt and responses whole.")] = False,
    home: HomeOption = None,
) -> None:
    """Say why a pair was formed, whether it was judged, and what it came to.

    `-q` prints the outcome: decisive, tie, inconsistent, unscored; or open.
    """
    number = pair.rpartition("/")[2]
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        raise SettingsError(f"{pair!r} is no pair's number; expected one like 17, or an export's id like default/p1/17")
    store = open_store(environment(home))
    try:
        facts = explain_pair(store, int(number))
    finally:
        store.close()
    resolution = facts["resolution"]
    output.give(facts, sentences(facts, 0 if full else 600), [resolution["outcome"] if resolution else "open"])


@formatted
def report(
    output: Output,
    path: Annotated[Path, typer.Argument(metavar="OUT.html", help="The page to write.")],
    stream: Annotated[str | None, typer.Option("--stream", help="Only this stream.")] = None,
    home: HomeOption = None,
) -> None:
    """Write the page with its data in one file: outcome, pair quality, models, endpoints. It needs no network."""
    found = environment(home)
    pool = Pool.read(found.pool_path) if found.pool_path.exists() else None
    store = open_store(found)
    try:
        with working(output, f"writing {path}"):
            write_report(store, pool, path, stream)
    finally:
        store.close()
    output.give({"path": str(path)}, str(path), [path])


@formatted
def rematch(
    output: Output,
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="The stream whose stored responses are paired anew.")],
    policy: Annotated[list[str], typer.Option("--policy", help="A matching policy; give it twice or more to compare.")],
    pairs: Annotated[
        int | None, typer.Option("--pairs", min=0, help="Pairs a prompt, at most; 0: no limit. [default: the stream's]")
    ] = None,
    teach: Annotated[bool, typer.Option("--teach", help="Let the verdicts teach the competencies.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until every prompt has ended.")] = True,
    home: HomeOption = None,
) -> None:
    """Pair a stream's stored responses by other policies, have the pairs judged, and compare. The same again adds
    nothing and compares again.

    `-q` prints the names of the streams that it derived.
    """
    found = environment(home)
    derived = rematching.derivations(stream, policy, pairs, teach)
    store = open_store(found, promised=True)
    try:
        counts = {}
        with progress(output) as bar:
            total = comparing.progress(store, [stream]).total or None
            for one in derived:
                task = bar.add_task(f"{escape_control(one.name)}: prompts taken over", total=total)
                counts[one.name] = rematching.derive(store, one, partial(bar.advance, task))
        for name, count in counts.items():
            left_out = f"{count.left_open} still open, {count.left_too_few} with fewer than two usable responses"
            output.say(f"{name}: {count.added} prompts added, {count.present} already present; left out: {left_out}")
        wake_gateway(found)
        if wait:
            if not _any_worker(found):
                warn("no worker runs, so nothing is judged until one does: karma up. Ctrl-C: what was added is kept.")
            with progress(output) as bar:
                wait_for_end(bar, partial(_ended, store, list(counts)))
        state = comparing.progress(store, list(counts))
        figures = comparing.compare(store, derived, tie_margin_of(found))
    finally:
        store.close()
    streams = {name: {**asdict(counts[name]), **one} for name, one in figures.items()}
    data = {"stream": stream, "unfinished": state.total - state.ended, "streams": streams}
    output.give(data, comparison(figures), list(figures))
    if state.ended < state.total:
        output.say(f"{state.total - state.ended} prompts have not ended yet; the same command compares again")
    if state.dead:
        raise KarmaError(f"{state.dead} prompts are dead and not in the comparison; `karma requeue dead` tries again")


#: Rows of the comparison: figure, title, digits after the point, whether it is a share in per cent.
_ROWS = (
    ("prompts", "prompts", 0, False),
    ("without_pair", "  without a pair", 0, False),
    ("pairs", "pairs", 0, False),
    ("open", "  still open", 0, False),
    ("judge_calls", "judge calls", 0, False),
    ("judge_tokens", "judge tokens", 0, False),
    ("decisive", "decisive pairs", 0, False),
    ("predicted", "  labelled by the prediction", 0, False),
    ("decisive_per_prompt", "decisive pairs a prompt", 3, False),
    ("decisive_per_call", "decisive pairs a judge call", 3, False),
    ("bits_per_pair", "information a pair, bit", 3, False),
    ("bits_per_call", "information a judge call, bit", 3, False),
    ("tie_share", "ties, % of resolved pairs", 1, True),
    ("inconsistent_share", "inconsistent, % of resolved pairs", 1, True),
    ("flip_share", "flips, % of pairs judged in both orders", 1, True),
    ("length_ratio", "length of chosen ÷ of rejected (geometric mean)", 2, False),
    ("label_error", "wrong labels, % of those that a reference can tell", 1, True),
    ("referenced", "  labels that a reference can tell", 0, False),
)


def comparison(figures: dict[str, dict[str, float | int | None]]) -> RenderableType:
    """The streams side by side; – where there is nothing to divide by."""
    table = Table(title="what each policy gave", title_justify="left")
    table.add_column("")
    for name in figures:
        table.add_column(Text(escape_control(name)), justify="right", no_wrap=True)
    for key, title, digits, percent in _ROWS:
        table.add_row(title, *(_cell(one[key], digits, percent) for one in figures.values()))
    return table


def _cell(value: Any, digits: int, percent: bool) -> str:
    return "–" if value is None else f"{100 * value if percent else value:,.{digits}f}"


def tie_margin_of(found: Environment) -> TieMargin:
    """The tie margins of the pool file; the default where there is none, as for a copied store."""
    return Pool.read(found.pool_path).tie_margin if found.pool_path.exists() else default_margin


def _ended(store: Store, streams: list[str]) -> tuple[int, int]:
    """How many prompts of the streams have ended, and of how many."""
    state = comparing.progress(store, streams)
    return state.ended, state.total


def _any_worker(found: Environment) -> bool:
    try:
        return bool(workers(connect(found.broker_url())))
    except KarmaError:
        return False
