"""How often the larger judges of a cascade disagree with its first one: a logistic regression per cascade.

Pairs are seen by all judges because of the first one's verdicts, or by a draw; never because of the larger judges'
verdicts. So what is missing is missing at random given the `features`, and the likelihood of the pairs that have both
is enough, without weights (Rubin 1976, Biometrika 63, 581–592).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, select

from karma.config.pool import Pool
from karma.ranking.judge_plan import Cascade, CascadeRule, first_features
from karma.ranking.label_error import Audited, LabelError, label_error
from karma.ranking.label_error_change import since_change
from karma.store import Transaction
from karma.store.cascade_quality import audited_label, known_before, larger_verdicts
from karma.store.pair_rows import HAS_SEVERAL_JUDGES, IS_CASCADE, IS_JUDGE_AUDIT, pair_records
from karma.store.records import PairRecord
from karma.store.schema import pairs, resolutions
from karma.verdicts import resolve
from karma_scoring.fit.judges.logistic import Example, fit_logistic

#: Most pairs that the rules are fitted to, and most audited pairs behind the label error: the newest.
PAIRS = 4_000
#: Share of the time that reading and fitting may take.
_TIME_SHARE = 0.02


def example_of(record: PairRecord) -> Example | None:
    """A pair's features, and whether the first judge's label stands with the larger ones.

    None if one of the two is missing, or the first judge takes no side.
    """
    plan = record.pair.judges
    if plan is None or (found := first_features(plan, record.verdicts, *known_before(record.pair))) is None:
        return None
    larger = resolve(larger_verdicts(record), plan.tie_margin)
    if larger.outcome == "unscored":
        return None
    first = resolve([each for each in record.verdicts if each.judge == plan.first], plan.tie_margin)
    return found, larger.outcome == "decisive" and larger.a_is_chosen == first.a_is_chosen


@dataclass(frozen=True)
class FittedCascades:
    """What a refit knows of cascades."""

    rules: Mapping[Cascade, CascadeRule] = field(default_factory=dict)  # those with enough pairs
    audits: Mapping[str, LabelError] = field(default_factory=dict)  # by stream


class Cascades:
    """The rules of the pool's cascades, fitted again while that takes little of the time.

    A pool without a stream that names a first judge costs nothing.
    """

    def __init__(self, pool: Pool) -> None:
        self._wanted = any(each.first_judge is not None for _table, each in pool.every_stream())
        self._known = FittedCascades()
        self._due_at = 0.0  # by the monotonic clock

    def fit(self, transaction: Transaction) -> FittedCascades:
        """The rules and the audited label errors; a cascade that all judges saw too few pairs of has no rule."""
        began = time.monotonic()
        if not self._wanted or began < self._due_at:
            return self._known
        seen_by_all = _newest(transaction, IS_CASCADE & HAS_SEVERAL_JUDGES)
        self._known = FittedCascades(rules(seen_by_all), audits(_newest(transaction, IS_JUDGE_AUDIT)))
        now = time.monotonic()
        self._due_at = now + (now - began) / _TIME_SHARE
        return self._known


def _newest(transaction: Transaction, condition: ColumnElement[bool]) -> list[PairRecord]:
    """The newest resolved pairs, oldest first."""
    query = select(pairs.c.id).join(resolutions, resolutions.c.pair == pairs.c.id).where(pairs.c.judged == 1, condition)
    connection = transaction.ledger.connection
    newest = connection.execute(query.order_by(pairs.c.id.desc()).limit(PAIRS)).scalars().all()
    return pair_records(connection, sorted(newest))


def rules(records: Iterable[PairRecord]) -> dict[Cascade, CascadeRule]:
    """The rules by cascade from pairs, of which those that all judges saw count."""
    examples: dict[Cascade, list[Example]] = {}
    for record in records:
        plan = record.pair.judges
        cascade = None if plan is None else plan.cascade
        if cascade is not None and (example := example_of(record)) is not None:
            examples.setdefault(cascade, []).append(example)
    fitted = {cascade: fit_logistic(of_cascade) for cascade, of_cascade in examples.items()}
    return {
        cascade: CascadeRule(weights, len(examples[cascade]))
        for cascade, weights in fitted.items()
        if weights is not None
    }


def audits(records: Iterable[PairRecord]) -> dict[str, LabelError]:
    """By stream, how often labels by the first judge are wrong, since that last changed.

    Args:
        records: audited pairs, oldest first.
    """
    audited: dict[str, list[Audited]] = {}
    for record in records:
        if (label := audited_label(record)) is not None:
            audited.setdefault(record.stream, []).append(label)
    errors = {stream: _error(since_change(labels)) for stream, labels in audited.items()}
    return {stream: error for stream, error in errors.items() if error is not None}


def _error(audited: Sequence[Audited]) -> LabelError | None:
    """The label error, of as many labels as the audited pairs represent."""
    return label_error(audited, round(sum((1.0 - each.probability) / each.probability for each in audited)))
