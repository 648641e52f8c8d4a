"""What `karma rematch` and `karma rejudge` share: deriving streams, waiting for their prompts, and the comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from karma.config.derived_streams import Derivation
from karma.config.environment import Environment
from karma.errors import KarmaError
from karma.store import Store
from karma.telemetry.escaping import escape_control
from karma_cli.options import wake_gateway
from karma_cli.output import Output
from karma_cli.progress import WorkerWatch, progress, wait_for_prompts
from karma_gateway.rematch import Derived, derive

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


def derive_all(
    output: Output, env: Environment, store: Store, stream: str, derived: Sequence[Derivation], wait: bool
) -> dict[str, Derived]:
    """Copy the prompts of a stream to each of its derived ones, and say how many; then wait for them to finish.

    Returns:
        The counts of each derived stream, by its name.
    """
    counts = {}
    with progress(output) as bar:
        total = sum(count_states(store, [stream]).values()) or None
        for derivation in derived:
            task = bar.add_task(f"{escape_control(derivation.name)}: prompts copied", total=total)
            counts[derivation.name] = derive(store, derivation, partial(bar.advance, task))
    for name, count in counts.items():
        left_out = f"{count.left_open} unfinished, {count.left_too_few} with fewer than two usable responses"
        if count.left_without_pair:
            left_out += f", {count.left_without_pair} without a pair"
        output.note(f"{name}: {count.added} prompts added, {count.present} already present; left out: {left_out}")
    wake_gateway(env)
    if wait:
        watch = WorkerWatch(env)
        watch()
        with progress(output) as bar:
            wait_for_prompts(store, bar, list(counts), on_poll=[watch])
    return counts


def say_unfinished(output: Output, states: Counter[str]) -> None:
    """Say how many prompts the comparison lacks, by their states.

    Raises:
        KarmaError: some are dead.
    """
    if unfinished := unfinished_of(states):
        output.note(f"{unfinished} prompts are unfinished; run the same command again to compare again")
    if dead := states["dead"]:
        raise KarmaError(f"{dead} prompts are dead and not in the comparison; `karma requeue dead` retries them")


def unfinished_of(states: Counter[str]) -> int:
    """The prompts that are neither done nor dead."""
    return sum(count for state, count in states.items() if state not in ("done", "dead"))


def count_states(store: Store, streams: Sequence[str]) -> Counter[str]:
    """Prompts of streams by state."""
    with store.reading() as transaction:
        return Counter(transaction.ledger.count_states(streams))


def comparison(compared: dict[str, dict[str, float | int | None]], title: str) -> RenderableType:
    """One column per stream; – for a figure that is undefined."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in compared:
        table.add_column(Text(escape_control(name)), justify="right", no_wrap=True)
    for key, row, form in _ROWS:
        values = (stream[key] for stream in compared.values())
        table.add_row(row, *("–" if value is None else f"{value:{form}}".replace("%", " %") for value in values))
    return table
