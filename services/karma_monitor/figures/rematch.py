"""Compares derived streams: the figures of each policy on the same responses."""

from __future__ import annotations

from collections.abc import Sequence

from karma.config.derived_streams import Derivation
from karma.store import Store
from karma_monitor.figures.quality import TieMargin, measure, policy_figures


def compare(
    store: Store, derived: Sequence[Derivation], tie_margin: TieMargin
) -> dict[str, dict[str, float | int | None]]:
    """The figures of each derived stream (`policy_figures`), by its name."""
    policies = measure(store, tie_margin, [one.name for one in derived]).policies
    return {one.name: policy_figures(policies[one.name, one.policy]) for one in derived}
