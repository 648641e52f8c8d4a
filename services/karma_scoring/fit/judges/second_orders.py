"""How often a judge's second order takes away the label of its first one: a logistic regression per judge.

Pairs are asked in both orders because of their first verdict, or by a draw; never because of the second verdict. So
what is missing is missing at random given the `features`, and the likelihood of the pairs that have both is enough,
without weights (Rubin 1976, Biometrika 63, 581–592).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import select

from karma.config.pool import Pool
from karma.ranking.orders import SecondOrder, expected_win, features
from karma.store import Transaction
from karma.store.pair_rows import pair_records
from karma.store.records import PairRecord
from karma.store.schema import pairs, resolutions
from karma.verdicts import TIE_MARGIN, Verdict, a_is_better, resolve, side
from karma_scoring.fit.judges.logistic import Example, fit_logistic

#: Most pairs that it is fitted to: the newest.
PAIRS = 4_000
#: Share of the time that reading and fitting may take.
_TIME_SHARE = 0.02


def example_of(
    verdicts: Iterable[Verdict], first: int, expected: float, tie_margin: float = TIE_MARGIN
) -> Example | None:
    """One pair's first verdict, and whether its label stands with the second; None if one is missing or names no side.

    Args:
        verdicts: of one judge on one pair.
        first: the order that was asked first.
        expected: P(a is better | decisive) before them.
        tie_margin: of the stream.
    """
    valid = {each.shown: each for each in verdicts if each.probability is not None}
    if len(valid) < 2 or (probability := valid[first].probability) is None:
        return None
    a_better = a_is_better(probability, first)
    taken = side(a_better, tie_margin)
    if taken == "none":
        return None
    both = resolve(valid.values(), tie_margin)
    stands = both.outcome == "decisive" and both.a_is_chosen == (taken == "a")
    return features(a_better, first, expected), stands


def fit_second_order(examples: Sequence[Example]) -> SecondOrder | None:
    """The rule of one judge; None with too few pairs."""
    weights = fit_logistic(examples)
    return None if weights is None else SecondOrder(weights, len(examples))


class SecondOrders:
    """The rules of the pool's judges, fitted again while that takes little of the time.

    A pool without a stream with adaptive orders costs nothing.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._wanted = any(each.orders == "adaptive" for _table, each in pool.every_stream())
        self._known: Mapping[str, SecondOrder] = {}
        self._due_at = 0.0  # by the monotonic clock

    def fit(self, transaction: Transaction) -> Mapping[str, SecondOrder]:
        """The rules by judge; a judge with too few pairs in both orders has none."""
        began = time.monotonic()
        if not self._wanted or began < self._due_at:
            return self._known
        newest = (
            select(pairs.c.id)
            .join(resolutions, resolutions.c.pair == pairs.c.id)
            .where(pairs.c.judged == 1, resolutions.c.flipped.is_not(None))
            .order_by(pairs.c.id.desc())
            .limit(PAIRS)
        )
        connection = transaction.ledger.connection
        records = pair_records(connection, list(connection.execute(newest).scalars()))
        self._known = rules(records, self._pool)
        now = time.monotonic()
        self._due_at = now + (now - began) / _TIME_SHARE
        return self._known


def rules(records: Iterable[PairRecord], pool: Pool) -> dict[str, SecondOrder]:
    """The rules by judge from pairs, of which those in both orders count."""
    examples: dict[str, list[Example]] = {}
    for record in records:
        pair, margin = record.pair, pool.tie_margin(record.stream)
        expected = expected_win(pair.predicted, pair.win_probability)
        for judge in {each.judge for each in record.verdicts}:
            first = 0 if pair.orders is None else pair.orders.first.get(judge, 0)
            own = [each for each in record.verdicts if each.judge == judge]
            if (example := example_of(own, first, expected, margin)) is not None:
                examples.setdefault(judge, []).append(example)
    fitted = {judge: fit_second_order(of_judge) for judge, of_judge in examples.items()}
    return {judge: rule for judge, rule in fitted.items() if rule is not None}
