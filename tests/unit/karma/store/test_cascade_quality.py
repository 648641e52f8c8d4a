"""Figures of a cascade: calls saved, and the audited error, as it would be if all judges saw every pair."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from karma.ranking.judge_plan import CascadeRule, JudgePlan
from karma.ranking.label_error import label_error
from karma.store.cascade_quality import audited_label, cascade_quality, deciding, is_first_alone
from karma.store.pair_quality import PairQuality
from karma.store.records import PairRecord, VerdictRow
from karma.verdicts import resolve
from tests.unit.karma.store.test_order_quality import pair_of

#: Doubts a verdict whose certainty is under about 2 logits.
RULE = CascadeRule((-4.0, 3.0, 0.0, 0.0, 0.0, 0.0), 200)


def plan_of(why: str, share: float = 0.2) -> JudgePlan:
    at_once, later = (("s",), {"L": (0,)}) if why == "first" else (("s", "L"), {})
    return JudgePlan("s", at_once, why, later, RULE, 0.2, share)  # type: ignore[arg-type]


def record(number: int, small: float | None, large: float | None, plan: JudgePlan | None) -> PairRecord:
    """`large` None: not asked."""
    verdicts = [VerdictRow(number, "s", 0, small, None if small is not None else "timed out")]
    verdicts += [VerdictRow(number, "L", 0, large, None)] if large is not None else []
    pair = pair_of(number, None)._replace(judges=plan)
    found = resolve(deciding(pair, verdicts))
    return PairRecord(
        pair=pair,
        stream="default",
        outcome=found.outcome,
        a_is_chosen=found.a_is_chosen,
        probability=found.probability,
        label_source="judge",
        resolved_at=1.0,
        verdicts=verdicts,
    )


def test_the_audited_error_is_that_of_the_labels_that_the_first_judge_gave_alone() -> None:
    """Its sure verdicts are wrong in 10 % of the pairs, its unsure ones in 40 %, which nobody exports."""
    rng = np.random.default_rng(4)
    records, wrong_alone, alone = [], 0, 0
    for number in range(20_000):
        sure, audited = rng.random() < 0.5, rng.random() < 0.2
        small, large = (0.98 if sure else 0.6), float(rng.random() > (0.1 if sure else 0.4))
        plan = plan_of("audit" if audited else "first")
        records.append(record(number, small, None if sure and not audited else large, plan))
        if is_first_alone(records[-1]):
            alone, wrong_alone = alone + 1, wrong_alone + (large == 0.0)
    audited_pairs = [found for each in records if (found := audited_label(each)) is not None]
    error = label_error(audited_pairs, alone)
    assert error is not None
    assert error.low < wrong_alone / alone < error.high
    assert error.estimate == pytest.approx(0.1, abs=0.02)
    assert len(audited_pairs) == sum(
        len(each.verdicts) == 2 and each.pair.judges.why == "audit"
        for each in records
        if each.pair.judges and each.verdicts[0].probability == 0.98
    )


def test_calls_are_counted_as_made_or_saved() -> None:
    quality = PairQuality()
    given = [
        record(1, 0.98, None, plan_of("first")),
        record(2, 0.98, None, plan_of("first")),
        record(3, 0.6, 0.9, plan_of("first")),
        record(4, 0.98, 0.9, plan_of("audit")),
        record(5, 0.98, 0.9, None),
    ]
    for each in given:
        quality.add(each)
    sums = quality.cascades["default"]
    assert (sums.pairs, sums.alone, sums.audited, sums.larger_calls, sums.larger_calls_saved) == (4, 2, 1, 2, 2)
    assert cascade_quality(given) == dict(quality.cascades)
    assert cascade_quality([given[-1]]) == {}


def test_agreement_counts_pairs_that_all_judges_were_to_see_from_the_start() -> None:
    """Where the first verdict called for the larger judge, they disagree more often than elsewhere."""
    quality = PairQuality()
    quality.add(record(1, 0.6, 0.1, plan_of("first")))
    quality.add(record(2, 0.98, 0.9, plan_of("audit")))
    assert (quality.judges["s"].compared, quality.judges["s"].agreed) == (1, 1)


@pytest.mark.parametrize(("small", "large", "decides"), [(0.9, 0.1, ["L"]), (0.9, None, ["s"]), (None, 0.1, ["L"])])
def test_the_larger_judges_make_the_label_where_one_of_them_is_valid(
    small: float | None, large: float | None, decides: list[str]
) -> None:
    given = record(1, small, large, plan_of("first"))
    assert [each.judge for each in deciding(given.pair, given.verdicts)] == decides


def test_a_tie_of_the_larger_judge_or_an_unsure_first_verdict_says_nothing_of_the_label_error() -> None:
    assert audited_label(record(1, 0.98, 0.5, plan_of("audit"))) is None
    assert audited_label(record(1, 0.6, 0.1, plan_of("audit"))) is None
    assert audited_label(record(1, 0.6, 0.1, plan_of("first"))) is None
    assert audited_label(record(1, 0.98, 0.1, plan_of("audit"))) is not None


def test_preferences_of_larger_judges_are_those_of_pairs_that_the_first_did_not_choose_for_them() -> None:
    """It calls for them where it is unsure.

    Calls, ties and failures count everywhere, and of the first judge all.
    """
    quality = PairQuality()
    for number in range(10):
        called = record(number, 0.6, 0.1, plan_of("first"))
        audited = record(10 + number, 0.98, 0.9, plan_of("audit"))
        for each in (called, audited, record(20 + number, 0.6, 0.5, plan_of("first"))):
            pair = each.pair._replace(length_a=9, length_b=3, quality_a=1.0, quality_b=1.0)
            other = each.verdicts[-1]
            both = [*each.verdicts, other._replace(shown=1)]
            quality.add(replace(each, pair=pair, verdicts=both))
    large, small = quality.judges["L"], quality.judges["s"]
    assert (large.verdicts, large.ties) == (60, 20)
    assert (large.first, large.second, large.longer, large.shorter) == (20, 0, 10, 10)
    assert (large.both_orders, large.flipped) == (10, 10)
    assert len(large.by_reference) == 0  # its two orders contradict each other
    assert (small.verdicts, small.longer, len(small.by_reference)) == (30, 30, 30)
