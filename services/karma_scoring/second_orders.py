"""Second orders: asks a judge about a pair in its other order where the verdict in the first one calls for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from karma.ranking.orders import expected_win
from karma.store import Transaction
from karma.store.records import BatchLimits, NewVerdict, PairRow, PromptRow, VerdictRow
from karma_scoring.later_judgements import open_judgements


def open_second_orders(
    new: Sequence[NewVerdict],
    pairs: Mapping[int, PairRow],
    prompts: Mapping[int, PromptRow],
    transaction: Transaction,
    limits: BatchLimits,
) -> Counter[int]:
    """Open the second orders that verdicts call for, in the transaction that records these; returns pair → number.

    Args:
        new: the verdicts, recorded and their items closed.
        pairs: theirs; not yet lowered by these verdicts.
        prompts: of the pairs, all of one stream, their rows locked.
        transaction: which holds these rows.
        limits: of a message.
    """
    called = [(one.pair, one.judge, 1 - one.shown) for one in new if _calls(one, pairs[one.pair])]
    return open_judgements(called, pairs, prompts, transaction, limits)


def _calls(verdict: NewVerdict, pair: PairRow) -> bool:
    plan = pair.orders
    if plan is None or plan.first.get(verdict.judge) != verdict.shown:
        return False
    expected = expected_win(pair.predicted, pair.win_probability)
    return plan.calls_for_second(verdict.judge, verdict.probability, expected)


def first_verdicts(pair: PairRow, verdicts: Sequence[VerdictRow]) -> Sequence[VerdictRow]:
    """The verdicts of a pair that count for the competencies: all, or of planned orders each judge's first one.

    Whether a judge is asked again depends on its first verdict, so outcomes by both would be decided under another rule
    for the pairs that surprise than for those that do not. The first order is drawn before anything is known of the
    verdict. Where it failed, the second stands for it.
    """
    plan = pair.orders
    if plan is None:
        return verdicts
    valid = {(each.judge, each.shown) for each in verdicts if each.probability is not None}
    return [
        each
        for each in verdicts
        if each.judge not in plan.first
        or each.shown == plan.first[each.judge]
        or (each.judge, plan.first[each.judge]) not in valid
    ]
