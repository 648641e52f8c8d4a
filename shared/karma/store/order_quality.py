"""Order flips of pairs whose second order was asked because of the first verdict, or by an audit.

Pairs whose first verdict called for the second flip more often than others do. So a pair counts in inverse proportion
to the probability π with which it came to be asked in both orders (Horvitz & Thompson 1952, JASA 47, 663–685), as
`audit_share` / π. An audited pair counts 1, one whose first verdict called for the second the audit's share. Sums
of these weights are those of a random sample of that share, so that their shares are unbiased, and their number is
never more than the effective sample size (Σw)² / Σw². Pairs that are asked in both orders whatever a verdict says
count 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from karma.ranking.orders import expected_win
from karma.store.records import PairRow, VerdictRow

#: Upper bounds of |competency gap| when the pair was formed, logits.
GAPS = (0.25, 0.5, 1.0, 2.0, float("inf"))


def flip_weight(pair: PairRow, verdicts: Sequence[VerdictRow], judges: Iterable[str]) -> float:
    """What a pair that these judges saw in both orders counts among such pairs, in (0, 1].

    Args:
        pair: with its plan of orders.
        verdicts: all of the pair.
        judges: one for its own flips; several for a flip of any, which the likeliest second order decides.
    """
    plan = pair.orders
    ruled = [] if plan is None else [judge for judge in judges if judge in plan.rules]
    if plan is None or not ruled:
        return 1
    expected = expected_win(pair.predicted, pair.win_probability)
    given = {(each.judge, each.shown): each.probability for each in verdicts}
    chance = max(plan.second_probability(judge, given.get((judge, plan.first[judge])), expected) for judge in ruled)
    return plan.audit_share / chance


def counts_position(pair: PairRow, verdict: VerdictRow, both: bool) -> bool:
    """Whether the position that a verdict prefers counts: of both orders, else of the drawn first order alone."""
    return both if pair.orders is None else pair.orders.first.get(verdict.judge) == verdict.shown


def calls_saved(pair: PairRow, verdicts: Iterable[VerdictRow]) -> int:
    """The calls that a resolved pair took fewer than in both orders, of the judges that were asked at all."""
    if pair.orders is None:
        return 0
    made = {(each.judge, each.shown) for each in verdicts if each.judge in pair.orders.first}
    return 2 * len({judge for judge, _order in made}) - len(made)


def gap_bucket(gap: float) -> int:
    """The place of a gap in `GAPS`."""
    return next(place for place, bound in enumerate(GAPS) if abs(gap) <= bound)
