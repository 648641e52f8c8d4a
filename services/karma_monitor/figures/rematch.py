"""How derived streams compare: what each policy gave on the same responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from karma.config.streams import Derivation
from karma.store import Store
from karma_monitor.figures.quality import PolicyTotals, measure
from karma_monitor.queries.pairs import prompt_states


@dataclass(frozen=True)
class Progress:
    """How far the prompts of some streams are."""

    ended: int
    total: int
    dead: int


def progress(store: Store, streams: Sequence[str]) -> Progress:
    """How far the prompts of the named streams are."""
    with store.reading() as transaction:
        rows = prompt_states(transaction.ledger.connection, streams)
    count = {
        state: sum(row.count for row in rows if row.state == state) for state in sorted({row.state for row in rows})
    }
    dead = count.get("dead", 0)
    return Progress(count.get("done", 0) + dead, sum(count.values()), dead)


def compare(store: Store, derived: Sequence[Derivation]) -> dict[str, dict[str, float | int | None]]:
    """The figures of each derived stream (`PolicyTotals.figures`), by its name."""
    tallies = measure(store, [one.name for one in derived]).tallies
    return {one.name: tallies.get((one.name, one.policy), PolicyTotals()).figures() for one in derived}
