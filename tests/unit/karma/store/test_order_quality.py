"""Flips and positions of a stream with planned orders, as they would be if every pair were asked in both."""

from __future__ import annotations

import numpy as np
import pytest

from karma.ranking.orders import OrderPlan, SecondOrder
from karma.store.order_quality import flip_weight
from karma.store.pair_quality import PairQuality
from karma.store.records import PairRecord, PairRow, VerdictRow
from karma.verdicts import resolve

#: Doubts a verdict for the response shown first, and no other.
RULE = SecondOrder((0.0, 0.0, -5.0, 0.0), 200)


def pair_of(number: int, plan: OrderPlan | None, gap: float = 0.1) -> PairRow:
    return PairRow(
        number,
        number,
        1,
        2,
        "x",
        "y",
        "random",
        0,
        1,
        1.0,
        gap,
        None,
        None,
        None,
        None,
        0.5,
        None,
        9,
        9,
        None,
        None,
        plan,
    )


def record(number: int, said: dict[int, float], plan: OrderPlan | None, gap: float = 0.1) -> PairRecord:
    verdicts = [VerdictRow(number, "j", shown, p, None) for shown, p in said.items()]
    found = resolve(verdicts)
    return PairRecord(
        pair=pair_of(number, plan, gap),
        stream="default",
        outcome=found.outcome,
        a_is_chosen=found.a_is_chosen,
        probability=found.probability,
        label_source="judge",
        resolved_at=1.0,
        verdicts=verdicts,
    )


def plan_of(first: int, audited: bool, share: float = 0.2) -> OrderPlan:
    return OrderPlan("adaptive", {"j": first}, {"j": RULE}, 0.1, audited, share)


def test_flips_and_positions_of_adaptive_orders_are_those_of_all_pairs() -> None:
    """A judge names the first with .7 in each order: 42 % of verdicts that name the same position contradict."""
    rng = np.random.default_rng(5)
    quality, everything = PairQuality(), PairQuality()
    for number in range(30_000):
        said = {shown: float(rng.random() < 0.7) for shown in (0, 1)}
        first, audited = int(rng.integers(2)), bool(rng.random() < 0.2)
        asked = said if audited or said[first] == 1.0 else {first: said[first]}
        quality.add(record(number, asked, plan_of(first, audited)))
        everything.add(record(number, said, None))
    adaptive, both = quality.judges["j"], everything.judges["j"]
    assert adaptive.flipped / adaptive.both_orders == pytest.approx(both.flipped / both.both_orders, abs=0.02)
    assert adaptive.first / (adaptive.first + adaptive.second) == pytest.approx(0.7, abs=0.02)
    policy = quality.policies["default", "random"]
    assert policy.calls_saved == 60_000 - policy.calls
    assert policy.pairs_flipped / policy.pairs_both_orders == pytest.approx(both.flipped / both.both_orders, abs=0.02)
    assert quality.flips_by_gap[0] == (adaptive.both_orders, adaptive.flipped)


def test_unweighted_flips_of_adaptive_orders_would_be_too_many() -> None:
    """So the test above can fail: all pairs with a second order alike."""
    called = record(1, {0: 1.0, 1: 1.0}, plan_of(0, audited=False))
    drawn = record(2, {0: 0.0, 1: 1.0}, plan_of(0, audited=True))
    assert flip_weight(called.pair, called.verdicts, ["j"]) == 0.2
    assert flip_weight(drawn.pair, drawn.verdicts, ["j"]) == 1.0


def test_pairs_in_both_orders_count_one_whatever_the_verdict_says() -> None:
    for plan in (None, OrderPlan("adaptive", {"j": 0}, {}, 0.1)):
        both = record(1, {0: 1.0, 1: 1.0}, plan)
        assert flip_weight(both.pair, both.verdicts, ["j"]) == 1


def test_one_order_shows_the_position_that_a_judge_prefers_and_no_flips() -> None:
    quality = PairQuality()
    for number in range(10):
        quality.add(record(number, {number % 2: 1.0}, OrderPlan("one", {"j": number % 2})))
    assert (quality.judges["j"].first, quality.judges["j"].second) == (10, 0)
    assert quality.judges["j"].both_orders == 0
    assert quality.policies["default", "random"].calls_saved == 10
