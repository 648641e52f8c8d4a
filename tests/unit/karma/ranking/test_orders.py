"""The plan of a pair's orders: what it asks, when a first verdict is enough, and with which probability it is."""

from __future__ import annotations

import json

import pytest

from karma.ranking.orders import OrderPlan, SecondOrder, expected_win, features

#: As sure as the verdict and the expectation are, and less at the first position.
RULE = SecondOrder((0.0, 1.0, -1.0, 1.0), 150)


def plan(audited: bool = False, **rules: SecondOrder) -> OrderPlan:
    return OrderPlan("adaptive", {"j": 1}, rules or {"j": RULE}, most_doubt=0.1, audited=audited, audit_share=0.05)


def test_a_judge_without_a_rule_is_asked_both_orders_at_once_and_one_with_a_rule_its_first() -> None:
    assert plan().at_once("j") == (1,)
    assert plan(other=RULE).at_once("j") == (1, 0)
    assert plan(audited=True).at_once("j") == (1, 0)
    assert OrderPlan("one", {"j": 1}).at_once("j") == (1,)


@pytest.mark.parametrize("probability", [None, 0.5, 0.55, 0.46])
def test_a_first_verdict_that_gives_no_label_always_calls_for_the_second(probability: float | None) -> None:
    assert plan().doubt("j", probability, 0.99) == 1.0
    assert plan().second_probability("j", probability, 0.99) == 1.0


def test_a_verdict_against_a_clear_expectation_is_doubted_and_one_that_agrees_is_not() -> None:
    """Response b is shown first; 0 names the second, which is a."""
    assert not plan().calls_for_second("j", 0.0, 0.95)
    assert plan().calls_for_second("j", 0.0, 0.01)
    assert plan().second_probability("j", 0.0, 0.95) == 0.05


def test_a_verdict_for_the_position_that_a_judge_prefers_is_doubted_more() -> None:
    assert plan().doubt("j", 0.9, 0.5) > plan().doubt("j", 0.1, 0.5)


def test_the_two_responses_are_treated_alike() -> None:
    assert features(0.8, 0, 0.7) == pytest.approx(features(0.2, 1, 0.3))


def test_one_order_never_calls_for_the_second() -> None:
    one = OrderPlan("one", {"j": 0})
    assert not one.calls_for_second("j", 0.5, 0.5)
    assert one.second_probability("j", 0.5, 0.5) == 0.0


def test_a_plan_is_the_same_after_a_round_trip_through_json() -> None:
    for each in (plan(), plan(audited=True), OrderPlan("one", {"j": 0, "k": 1})):
        assert OrderPlan.from_dict(json.loads(json.dumps(each.to_dict()))) == each
    assert OrderPlan.from_dict(None) is None


def test_what_is_expected_is_the_outcome_models_prediction_where_there_is_one() -> None:
    assert (expected_win(0.7, 0.6), expected_win(None, 0.6), expected_win(None, None)) == (0.7, 0.6, 0.5)
