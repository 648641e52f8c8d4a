"""The rule of second orders: it finds what decides them, also from a sample that the first verdicts chose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from karma.ranking.orders import SecondOrder, features
from karma.ranking.snapshot import Snapshot
from karma.ranking.snapshot_archive import from_bytes, to_bytes
from karma.store.records import VerdictRow
from karma_scoring.fit.judges.logistic import LEAST_PAIRS, Example
from karma_scoring.fit.judges.second_orders import example_of, fit_second_order
from karma_scoring.fit.refit import Refitter
from tests.support.memory import Flow, make_pool
from tests.support.stores import memory

TRUE = SecondOrder((1.0, 0.5, -1.0, 0.8))


def examples(number: int, audit_share: float | None, seed: int = 3) -> list[Example]:
    """First verdicts with second ones by `TRUE`; with an audit share, those up to a doubt of .2 only by that chance."""
    rng = np.random.default_rng(seed)
    found = []
    for a_better, expected, shown in zip(
        rng.random(number), rng.random(number), rng.integers(2, size=number), strict=True
    ):
        row = features(float(a_better), int(shown), float(expected))
        stands = rng.random() > TRUE.doubt(row)
        if audit_share is None or TRUE.doubt(row) > 0.2 or rng.random() < audit_share:
            found.append((row, bool(stands)))
    return found


@pytest.mark.parametrize("audit_share", [None, 0.1])
def test_the_rule_is_found_also_where_the_first_verdict_chose_the_pairs(audit_share: float | None) -> None:
    rule = fit_second_order(examples(20_000, audit_share))
    assert rule is not None
    assert rule.weights == pytest.approx(TRUE.weights, abs=0.15)


def test_too_few_pairs_give_no_rule() -> None:
    assert fit_second_order(examples(LEAST_PAIRS - 1, None)) is None
    assert fit_second_order(examples(LEAST_PAIRS, None)) is not None


def verdict(shown: int, probability: float | None) -> VerdictRow:
    return VerdictRow(1, "j", shown, probability, None if probability is not None else "timed out")


@pytest.mark.parametrize(
    ("first", "second", "stands"),
    [(0.9, 0.2, True), (0.9, 0.9, False), (1.0, 1.0, False), (0.6, 1.0, False), (1.0, 0.5, True)],
)
def test_a_label_stands_where_both_verdicts_together_still_take_the_first_ones_side(
    first: float, second: float, stands: bool
) -> None:
    example = example_of([verdict(0, first), verdict(1, second)], 0, 0.5)
    assert example is not None
    assert example[1] is stands


def test_a_pair_without_two_valid_verdicts_or_without_a_first_label_says_nothing() -> None:
    assert example_of([verdict(0, 0.9)], 0, 0.5) is None
    assert example_of([verdict(0, 0.9), verdict(1, None)], 0, 0.5) is None
    assert example_of([verdict(0, 0.5), verdict(1, 0.9)], 0, 0.5) is None


def test_a_refit_learns_the_rule_from_pairs_in_both_orders_and_the_snapshot_keeps_it() -> None:
    store = memory()
    flow = Flow(store, make_pool("ab", stream={"orders": "adaptive"}))
    flow.accept(*({"id": f"p{n}", "prompt": f"Say {n}."} for n in range(LEAST_PAIRS)))
    flow.finish()
    learned = Refitter(store, flow.pool).refit(1).second_orders
    assert learned["j"].pairs == LEAST_PAIRS
    assert learned["j"].doubt(features(0.9, 0, 0.5)) < 0.1  # this judge never contradicts itself
    kept = replace(Snapshot.empty(), second_orders=learned)
    assert from_bytes(to_bytes(kept)).second_orders == learned


def test_a_pool_without_adaptive_orders_learns_no_rule() -> None:
    store = memory()
    flow = Flow(store, make_pool("ab"))
    flow.accept(*({"id": f"p{n}", "prompt": f"Say {n}."} for n in range(LEAST_PAIRS)))
    flow.finish()
    assert Refitter(store, flow.pool).refit(1).second_orders == {}
