"""Larger judges of a cascade: asks them about a pair where the verdicts of the stream's first judge call for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from karma.store import Transaction
from karma.store.cascade_quality import calls_for_larger, deciding
from karma.store.records import BatchLimits, NewVerdict, PairRow, PromptRow, VerdictRow
from karma_scoring.later_judgements import open_judgements


def open_larger_judges(
    new: Sequence[NewVerdict],
    pairs: Mapping[int, PairRow],
    prompts: Mapping[int, PromptRow],
    transaction: Transaction,
    limits: BatchLimits,
) -> Counter[int]:
    """Open the larger judges' judgements of pairs whose first judge has given all its verdicts; returns pair → number.

    Call this after `open_second_orders`: while an order of the first judge is open, the pair waits for it.

    Args:
        new: the verdicts, recorded and their items closed.
        pairs: theirs.
        prompts: of the pairs, all of one stream, their rows locked.
        transaction: which holds these rows.
        limits: of a message.
    """
    waiting = {
        each.pair for each in new if (plan := pairs[each.pair].judges) and plan.later and each.judge == plan.first
    }
    if not waiting:
        return Counter()
    open_ = {
        (pair, judge) for pair, judge, _order in transaction.work.open_orders({pairs[id_].prompt for id_ in waiting})
    }
    given = transaction.preferences.verdicts_of(waiting)
    called = []
    for id_ in sorted(waiting):
        pair, plan = pairs[id_], pairs[id_].judges
        if plan is not None and (id_, plan.first) not in open_ and calls_for_larger(pair, given[id_]):
            called += [(id_, judge, shown) for judge, orders in plan.later.items() for shown in orders]
    return open_judgements(called, pairs, prompts, transaction, limits)


def counted_judges(pair: PairRow, verdicts: Sequence[VerdictRow]) -> Sequence[VerdictRow]:
    """The verdicts of a pair that count for the competencies: all, or in a cascade those that make its label."""
    return deciding(pair, verdicts)
