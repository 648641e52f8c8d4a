"""The rule of a cascade: it finds what decides disagreement, also from pairs that the first judge's verdicts chose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from karma.ranking.judge_plan import CascadeRule, JudgePlan, features
from karma.ranking.label_error import LabelError
from karma.ranking.snapshot import Snapshot
from karma.ranking.snapshot_archive import from_bytes, to_bytes
from karma.verdicts import Opinion
from karma_scoring.fit.judges.cascades import example_of
from karma_scoring.fit.judges.logistic import LEAST_PAIRS, Example, fit_logistic
from karma_scoring.fit.refit import Refitter
from tests.integration.test_cascade import SURE, always, make_flow, run
from tests.support.stores import memory
from tests.unit.karma.store.test_cascade_quality import plan_of, record

TRUE = CascadeRule((0.5, 1.0, 0.6, -0.5, 0.0, -0.7))


def examples(number: int, audit_share: float | None) -> list[Example]:
    """First verdicts with labels that stand by `TRUE`; with an audit share, up to a doubt of .2 only by that chance."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(number):
        opinion = Opinion("s", float(rng.random()), "a", False, False)
        row = features(opinion, int(rng.integers(2)), float(rng.random()), tuple(rng.integers(10, 1000, 2).tolist()))
        stands = rng.random() > TRUE.doubt(row)
        if audit_share is None or TRUE.doubt(row) > 0.2 or rng.random() < audit_share:
            found.append((row, bool(stands)))
    return found


@pytest.mark.parametrize("audit_share", [None, 0.1])
def test_the_rule_is_found_also_where_the_first_verdict_chose_the_pairs(audit_share: float | None) -> None:
    weights = fit_logistic(examples(20_000, audit_share))
    assert weights is not None
    assert weights == pytest.approx(TRUE.weights, abs=0.2)


@pytest.mark.parametrize(("large", "stands"), [(0.9, True), (0.1, False), (0.5, False)])
def test_a_label_stands_where_the_larger_judges_take_the_same_side(large: float, stands: bool) -> None:
    example = example_of(record(1, 0.98, large, plan_of("audit")))
    assert example is not None
    assert example[1] is stands


def test_a_pair_that_one_judge_saw_or_without_a_side_of_the_first_says_nothing() -> None:
    assert example_of(record(1, 0.98, None, plan_of("first"))) is None
    assert example_of(record(1, 0.5, 0.9, plan_of("audit"))) is None
    assert example_of(record(1, None, 0.9, plan_of("audit"))) is None
    assert example_of(record(1, 0.98, 0.9, None)) is None


def test_a_refit_learns_the_rule_from_pairs_that_all_judges_saw_and_the_snapshot_keeps_it() -> None:
    flow = run(make_flow(memory(), rule=None), always(SURE, 0.9), LEAST_PAIRS, deliveries=1)
    learned = Refitter(flow.store, flow.pool).refit(1)
    rule = learned.cascades["s", "L"]
    assert rule.pairs == LEAST_PAIRS
    plan = JudgePlan("s", ("s",), "first", {"L": (0,)}, rule, 0.2)
    assert (plan.doubt(record(1, SURE, None, None).verdicts, 0.5, (9, 9)) or 0.0) < 0.1
    audits = {"default": LabelError(0.01, 0.0, 0.05, 100, 1900)}
    kept = replace(Snapshot.empty(), cascades=learned.cascades, cascade_audits=audits)
    back = from_bytes(to_bytes(kept))
    assert (back.cascades, back.cascade_audits) == (learned.cascades, audits)


def test_a_refit_reports_the_error_of_the_first_judges_labels_by_the_audit() -> None:
    """The large judge always takes the other side."""
    flow = run(make_flow(memory(), judge_audit_share=0.5), always(SURE, 0.1), 60, deliveries=1)
    error = Refitter(flow.store, flow.pool).refit(1).cascade_audits["default"]
    assert error.estimate == 1.0
    assert 15 <= error.audited == error.unjudged <= 45


def test_a_pool_without_a_first_judge_learns_no_rule() -> None:
    flow = run(make_flow(memory(), rule=None, first_judge=None), always(SURE, 0.9), LEAST_PAIRS, deliveries=1)
    assert Refitter(flow.store, flow.pool).refit(1).cascades == {}
