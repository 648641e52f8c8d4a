"""Comparing derived streams: what each policy gave on the same responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from karma.config.derived_streams import Derivation
from karma.store import Store
from karma.store.counting import prompts_by_state
from karma_monitor.figures.quality import TieMargin, measure, policy_figures


@dataclass(frozen=True)
class Progress:
    """How many prompts of some streams have ended."""

    ended: int
    total: int
    dead: int


def progress(store: Store, streams: Sequence[str]) -> Progress:
    """The progress of the named streams."""
    with store.reading() as transaction:
        counts = prompts_by_state(transaction.ledger.connection, streams)
    dead = sum(count for (_stream, state), count in counts.items() if state == "dead")
    done = sum(count for (_stream, state), count in counts.items() if state == "done")
    return Progress(done + dead, counts.total(), dead)


def compare(
    store: Store, derived: Sequence[Derivation], tie_margin: TieMargin
) -> dict[str, dict[str, float | int | None]]:
    """The figures of each derived stream (`policy_figures`), by its name."""
    policies = measure(store, tie_margin, [one.name for one in derived]).policies
    return {one.name: policy_figures(policies[one.name, one.policy]) for one in derived}
