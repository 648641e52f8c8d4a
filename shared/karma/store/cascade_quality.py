"""Pairs of a cascade: whose verdicts decide, which calls were saved, and the audit of labels by the first judge.

The audit draws a share of all pairs beforehand. So those that the first judge would have decided are a random sample of
the labels that it decides, and their verdicts by the larger judges say how often such labels are wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from karma.ranking.label_error import Audited
from karma.ranking.orders import expected_win
from karma.ranking.verdict_sources import HUMAN
from karma.store.records import PairRecord, PairRow, VerdictRow
from karma.verdicts import Opinion, Verdict, resolve

V = TypeVar("V", bound=Verdict)


def first_doubt(pair: PairRow, verdicts: Sequence[Verdict]) -> float | None:
    """P(the larger judges' label differs from the first one's), by the pair's rule; None without one."""
    plan = pair.judges
    return None if plan is None else plan.doubt(verdicts, *known_before(pair))


def calls_for_larger(pair: PairRow, verdicts: Sequence[Verdict]) -> bool:
    """Whether the first judge's verdicts on a pair call for the larger judges."""
    return pair.judges is not None and pair.judges.calls_for_larger(verdicts, *known_before(pair))


def known_before(pair: PairRow) -> tuple[float, tuple[int, int]]:
    """The expectation before any verdict, and the lengths of the responses."""
    return expected_win(pair.predicted, pair.win_probability), (pair.length_a, pair.length_b)


def deciding(pair: PairRow, verdicts: Sequence[V]) -> Sequence[V]:
    """The verdicts that make a pair's label: in a cascade those of the larger judges, where one is valid."""
    plan = pair.judges
    if plan is None or plan.first is None:
        return verdicts
    others = [each for each in verdicts if each.judge != plan.first]
    return others if any(each.probability is not None for each in others) else verdicts


def is_first_alone(record: PairRecord) -> bool:
    """Whether the label of a resolved pair is by the first judge of a cascade, and no larger one was asked."""
    plan = record.pair.judges
    return plan is not None and bool(plan.later) and all(each.judge == plan.first for each in record.verdicts)


@dataclass
class CascadeQuality:
    """Sums over the resolved pairs of one stream's cascade."""

    pairs: int = 0
    alone: int = 0  # whose label is by the first judge, no larger one asked
    audited: int = 0  # drawn for the audit
    larger_calls: int = 0  # verdicts of larger judges
    larger_calls_saved: int = 0  # that would have been asked at once

    def add(self, record: PairRecord) -> None:
        """Add one pair; nothing of a pair that is of no cascade."""
        plan = record.pair.judges
        if plan is None or plan.first is None or record.outcome is None:
            return
        asked = {each.judge for each in record.verdicts}
        self.pairs += 1
        self.alone += is_first_alone(record)
        self.audited += plan.why == "audit"
        self.larger_calls += len([each for each in larger_verdicts(record) if each.template_hash != HUMAN])
        self.larger_calls_saved += sum(len(orders) for judge, orders in plan.later.items() if judge not in asked)


def cascade_quality(records: Iterable[PairRecord]) -> dict[str, CascadeQuality]:
    """The sums over some pairs, by stream; nothing of streams without a cascade."""
    found: dict[str, CascadeQuality] = {}
    for record in records:
        if record.pair.judges is not None and record.pair.judges.first is not None:
            found.setdefault(record.stream, CascadeQuality()).add(record)
    return found


def audited_label(record: PairRecord) -> Audited | None:
    """What an audited pair says of the labels by the first judge; None of a pair that says nothing of them.

    It must have been drawn for the audit, its first verdict not call for the larger judges, and theirs take a side.
    """
    pair, plan = record.pair, record.pair.judges
    if plan is None or plan.why != "audit" or calls_for_larger(pair, record.verdicts):
        return None
    first = resolve([each for each in record.verdicts if each.judge == plan.first], plan.tie_margin)
    larger = resolve([each for each in record.verdicts if each.judge != plan.first], plan.tie_margin)
    if larger.outcome != "decisive":
        return None
    return Audited(plan.audit_share, first.a_is_chosen != larger.a_is_chosen, pair.prompt)


def comparable(pair: PairRow, given: Sequence[Opinion]) -> Sequence[Opinion]:
    """The opinions whose agreement says something of the judges: without the first judge's where it called for others.

    There the larger judges were asked because they may disagree, so it would seem worse than it is.
    """
    plan = pair.judges
    if plan is None or not plan.later:
        return given
    return [each for each in given if each.judge != plan.first]


def unselected(pair: PairRow, given: Sequence[Opinion]) -> Sequence[Opinion]:
    """The opinions that are a sample of their judge's: without the larger judges' where the first one called for them.

    Those pairs are harder than others, and where the rule looks at lengths or the expected winner, one-sided in these.
    """
    return given if pair.judges is None else [each for each in given if not is_called(pair, each.judge)]


def is_called(pair: PairRow, judge: str) -> bool:
    """Whether a judge that gave a verdict was asked because the first judge's verdicts called for it."""
    return pair.judges is not None and judge in pair.judges.later


def larger_verdicts(record: PairRecord) -> Sequence[VerdictRow]:
    """The verdicts of the larger judges of a cascade."""
    plan = record.pair.judges
    return [] if plan is None else [each for each in record.verdicts if each.judge != plan.first]
