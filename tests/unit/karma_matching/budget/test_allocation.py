"""The gate keeps its budget, judges what is informative, and leaves no pair without a chance of being judged."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from karma.ranking.label_limit import LabelLimit
from karma.ranking.outcome_model import FEATURES, OutcomeModel, ResponseEffects
from karma_matching.budget.allocation import SPENT, Budget, BudgetState, decide, judge_all
from karma_matching.budget.decisions import ceiling
from karma_matching.budget.expected_information import expected_information
from tests.benchmarks.gated_stream import new_model_figures
from tests.benchmarks.hourly_limit import LIMIT, across_clock_hours, burst, spend, steady

MODEL = OutcomeModel(1.0, (0.0,) * len(FEATURES), {}, 0.5, None, 1000, 0.01)


def pass_through(budget: Budget, pairs: int, batch: int = 10, ceiling: float = math.inf, every_s: float = 0.0):
    """Pairs of random information, one batch after another; returns their information, decisions and the state."""
    draws, rng, state = np.random.default_rng(3), random.Random(5), BudgetState()
    bits, decisions, now = [], [], 1e9
    for _ in range(pairs // batch):
        information = np.sort(draws.beta(2, 2, batch))[::-1]
        decided, state = decide(np.arange(batch), information, budget, state, ceiling, rng, now)
        bits.extend(information.tolist())
        decisions.extend(decided)
        now += every_s * batch
    return np.array(bits), decisions, state


@pytest.mark.parametrize("share", [0.1, 0.35, 0.5, 0.9, 1.0])
def test_the_share_that_is_judged_is_the_budget(share: float) -> None:
    _, decisions, state = pass_through(Budget(judge_share=share), 6000)
    assert sum(decision.judged for decision in decisions) / 6000 == pytest.approx(share, abs=0.01)
    assert state.seen == 6000
    assert state.judged == sum(decision.judged for decision in decisions)


def test_what_is_judged_is_the_most_informative_and_an_audit_of_the_rest() -> None:
    bits, decisions, _ = pass_through(Budget(judge_share=0.4, audit_share=0.05), 8000)
    bits, late = bits[2000:], decisions[2000:]
    judged = np.array([decision.judged for decision in late])
    chance = np.array([decision.probability for decision in late])
    certain = chance == 1.0
    assert judged[certain].all()
    assert bits[certain].min() > np.median(bits)
    audited = np.isclose(chance, 0.05)
    assert judged[audited].mean() == pytest.approx(0.05, abs=0.012)
    assert certain.mean() == pytest.approx((0.4 - 0.05) / 0.95, abs=0.03)


@given(
    share=st.floats(0.01, 1.0),
    audit=st.floats(0.001, 1.0),
    ceiling=st.floats(0.0, 1.0) | st.sampled_from([math.inf, -math.inf]),
    information=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=40),
    seen=st.integers(0, 10**6),
    judged=st.integers(0, 10**6),
)
def test_every_pair_has_a_recorded_chance_above_zero(share, audit, ceiling, information, seen, judged) -> None:
    state = replace(BudgetState(), seen=seen, judged=min(seen, judged), histogram=(1.0,) * len(BudgetState().histogram))
    budget = Budget(judge_share=share, audit_share=audit)
    bits = np.sort(np.array(information))[::-1]
    decided, after = decide(np.arange(len(bits)), bits, budget, state, ceiling, random.Random(1), 0.0)
    assert all(0.0 < decision.probability <= 1.0 for decision in decided)
    assert after.seen == seen + len(bits)
    assert BudgetState.from_json(after.to_json()).judged == after.judged


def test_the_same_pairs_under_the_same_state_are_decided_alike() -> None:
    _, _, state = pass_through(Budget(judge_share=0.5), 500)
    stored = BudgetState.from_json(state.to_json())
    again = BudgetState.from_json(stored.to_json())
    bits = np.linspace(0.9, 0.1, 30)
    first = decide(np.arange(30), bits, Budget(judge_share=0.5), stored, math.inf, random.Random("p1"), 0.0)
    second = decide(np.arange(30), bits, Budget(judge_share=0.5), again, math.inf, random.Random("p1"), 0.0)
    assert first == second


@pytest.mark.parametrize("predicted", [True, False])
def test_a_steady_stream_uses_its_calls_and_no_hour_has_more(predicted: bool) -> None:
    """1,000 calls of two orders judge 500 of 3,000 pairs an hour; the audit alone would be a fifth of that."""
    spent = spend(steady(3000, 3), 1, predicted)

    assert spent.most_in_an_hour() <= LIMIT
    for hour in range(3):
        assert spent.calls(3600.0 * hour, 3600.0 * (hour + 1)) >= 0.9 * LIMIT
    assert spent.probability.min() > 0.0


def test_an_audit_that_is_larger_than_the_limit_shrinks_and_its_probability_is_recorded() -> None:
    """A fifth of 3,000 pairs an hour would be 1,200 calls of 100: most of the chances are half of what is left."""
    spent = spend(steady(3000, 3), 1, limit=100.0, audit=0.2)
    late = spent.times >= spent.times[0] + 3600.0
    weight = 1.0 / spent.probability[late & spent.judged]

    assert spent.most_in_an_hour() <= 100.0
    assert np.median(spent.probability[late]) == pytest.approx(0.5 * 50.0 / 3000.0, rel=0.3)
    assert weight.sum() == pytest.approx(late.sum(), rel=0.3)


@pytest.mark.parametrize("predicted", [True, False])
def test_a_burst_after_idle_time_uses_most_of_an_hours_calls(predicted: bool) -> None:
    spent = spend(burst(5000, 10.0), 1, predicted)

    assert 0.85 * LIMIT <= spent.most_in_an_hour() <= LIMIT
    assert spent.probability.min() > 0.0


def test_the_limit_holds_across_clock_hours() -> None:
    assert spend(across_clock_hours(), 1).most_in_an_hour() <= LIMIT


def test_pairs_of_one_prompt_do_not_exceed_the_limit_and_once_it_is_reached_none_is_judged() -> None:
    """100 pairs at once, and 10 calls of two each: the chance of pairs that cannot be judged is recorded as 0."""
    budget = Budget(calls_per_hour=10, calls_per_pair=2, audit_share=1.0)
    bits, judged, state = np.linspace(0.9, 0.1, 100), 0, BudgetState()
    for prompt in range(40):
        decisions, state = decide(np.arange(100), bits, budget, state, math.inf, random.Random(prompt), 1e9)
        judged += sum(decision.judged for decision in decisions)
    assert 2 <= judged <= 5
    assert state.recent.calls == 2 * judged

    spent = replace(state, recent=state.recent.with_new(1e9, 0, 10 - 2 * judged))
    decisions, after = decide(np.arange(100), bits, budget, spent, math.inf, random.Random(0), 1e9)
    decisions += judge_all([0.5], budget, after, random.Random(0), 1e9)[0]

    assert {(decision.judged, decision.probability, decision.why) for decision in decisions} == {(False, 0.0, SPENT)}


def test_a_state_of_an_earlier_version_is_read_and_its_calls_count() -> None:
    old = {"seen": 900, "judged": 400, "allowed": 400.0, "histogram": [5.0] * 200}
    old |= {"hour_began": 1e9, "hour_seen": 700.0, "hour_judged": 300.0, "last_hour_seen": 10.0}

    state = BudgetState.from_json(json.dumps(old), calls_per_pair=2)

    assert (state.seen, state.judged, state.recent.calls) == (900, 400, 600)
    assert state.recent.at(1e9 + 2.1 * 3600.0).calls == 0
    assert BudgetState.from_json(state.to_json()) == state


def test_pairs_above_the_ceiling_are_judged_whatever_the_budget() -> None:
    bits, decisions, state = pass_through(Budget(judge_share=0.3), 6000, ceiling=0.4)
    late = decisions[1000:]
    above = bits[1000:] > 0.4
    assert all(decision.probability == 1.0 for decision, beyond in zip(late, above, strict=True) if beyond)
    assert np.mean([decision.judged for decision in np.array(late, dtype=object)[~above]]) < 0.1
    assert state.allowed == pytest.approx(state.judged, rel=0.02), "the budget does not compensate for them"
    assert {decision.why for decision in decisions[1000:]} >= {"the label might be wrong"}


def test_an_hourly_limit_goes_before_the_ceiling() -> None:
    """Ten pairs each 10 s are 3,600 an hour, of which all should be judged and 500 may be."""
    budget = Budget(calls_per_hour=1000, calls_per_pair=2)
    _, decisions, state = pass_through(budget, 3 * 3600, ceiling=-math.inf, every_s=1.0)
    assert sum(decision.judged for decision in decisions) <= 3 * 500
    assert state.recent.calls <= 1000


def test_a_ceiling_above_the_threshold_changes_nothing() -> None:
    _, without, state = pass_through(Budget(judge_share=0.5), 2000)
    _, with_it, same = pass_through(Budget(judge_share=0.5), 2000, ceiling=1.0)
    assert with_it == without
    assert same == state


def test_without_a_known_ceiling_a_limit_judges_everything() -> None:
    known = LabelLimit(0.1, 0.3, 0.5, 0.05, 0.09, 500, 0)
    assert ceiling(known, 0.1) == ceiling(known, 0.2) == 0.3
    assert ceiling(known, None) == ceiling(None, None) == math.inf
    assert ceiling(known, 0.05) == ceiling(None, 0.1) == ceiling(replace(known, ceiling=None), 0.1) == -math.inf
    _, decisions, _ = pass_through(Budget(judge_share=0.3), 500, ceiling=-math.inf)
    assert all(decision.judged and decision.probability == 1.0 for decision in decisions)


def test_while_nothing_can_be_predicted_everything_is_judged() -> None:
    decisions, state = judge_all([0.5] * 7, Budget(judge_share=0.1), BudgetState(), random.Random(1), 0.0)
    assert [decision.judged for decision in decisions] == [True] * 7
    assert {decision.probability for decision in decisions} == {1.0}
    assert (state.seen, state.judged) == (7, 7)


def test_without_siblings_the_order_is_that_of_information() -> None:
    advantage = np.array([3.0, 0.1, -1.0, 0.5])
    places = np.array([0, 0, 0, 1]), np.array([1, 2, 3, 2])
    order, bits = expected_information(MODEL, advantage, np.zeros(4), *places)
    assert order.tolist() == [1, 3, 2, 0]
    assert (np.diff(bits) <= 0).all()


def test_a_model_that_is_hardly_known_comes_before_a_certain_gap_of_the_same_size() -> None:
    advantage, deviation = np.array([1.0, 1.0, 0.0]), np.array([0.1, 2.0, 0.1])
    places = np.array([0, 0, 1]), np.array([1, 2, 2])
    effects = ResponseEffects(variance=6.0, scale=1.5, slope=2.0)
    for model in (MODEL, replace(MODEL, siblings=effects)):
        order, _ = expected_information(model, advantage, deviation, *places)
        assert order.tolist()[-1] == 0


@pytest.mark.parametrize("seed", [0, 1])
def test_pairs_of_a_new_model_are_judged_first(seed: int) -> None:
    """By the expected entropy given the competencies, 3 % of them would be."""
    *_, judged, _, _ = new_model_figures(seed, 0.3, [(0, 400)])

    assert judged > 0.25


def test_with_siblings_pairs_that_others_decide_come_later() -> None:
    """Of three equal pairs among three responses the third is nearly decided by the first two."""
    model = replace(MODEL, siblings=ResponseEffects(variance=6.0, scale=1.5, slope=2.0))
    advantage = np.array([0.1, 0.1, 0.1, 0.12])
    first, second = np.array([0, 1, 0, 3]), np.array([1, 2, 2, 4])
    order, bits = expected_information(model, advantage, np.zeros(4), first, second)
    assert sorted(order.tolist()) == [0, 1, 2, 3]
    assert order.tolist().index(3) <= 1, "a pair of two other responses loses nothing"
    assert (np.diff(bits) <= 1e-12).all()
    assert bits[-1] < bits[0]
