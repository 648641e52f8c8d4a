"""Compares derived streams: policies on the same responses, or judges on the same pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from karma.config.derived_streams import Derivation
from karma.store import Store
from karma.store.stored_pairs import label_pairs
from karma_monitor.figures.intervals import ratio
from karma_monitor.figures.quality import TieMargin, measure, policy_figures


def compare(
    store: Store, derived: Sequence[Derivation], tie_margin: TieMargin
) -> dict[str, dict[str, float | int | None]]:
    """The figures of each derived stream (`policy_figures`), by its name."""
    policies = measure(store, tie_margin, [one.name for one in derived]).policies
    return {one.name: policy_figures(policies[one.name, one.policy]) for one in derived}


@dataclass(frozen=True)
class LabelChange:
    """How the labels of a rejudged stream differ from those of its base, over the pairs that both have resolved.

    Attributes:
        pairs: resolved in both.
        both_decisive: of these, those with a preference in both.
        same: of these, those with the same chosen response.
        gained: with a preference only in the rejudged stream.
        lost: with a preference only in the base.
        agreement: same / both_decisive; None where there is none.
    """

    pairs: int
    both_decisive: int
    same: int
    gained: int
    lost: int
    agreement: float | None


def label_change(store: Store, derived: Derivation) -> LabelChange:
    """How the labels of a rejudged stream differ from those of its base."""
    with store.reading() as transaction:
        found = label_pairs(transaction.ledger.connection, derived.base, derived.name)
    both = sum(row.pairs for row in found if row.same is not None)
    same = sum(row.pairs for row in found if row.same)
    gained = sum(row.pairs for row in found if row.after == "decisive" != row.before)
    lost = sum(row.pairs for row in found if row.before == "decisive" != row.after)
    return LabelChange(sum(row.pairs for row in found), both, same, gained, lost, ratio(same, both))
