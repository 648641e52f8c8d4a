"""Gap pairs are labeled where the posterior is sure, and judged within the budget where it is not."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from karma.policies.candidates import Candidate
from karma.ranking.label_model import LabelModel, PairSigns
from karma.ranking.snapshot import Snapshot
from karma_gateway.planning import PlannedPrompt, plan
from karma_matching.budget.allocation import SPENT, BudgetState, Decision
from karma_matching.budget.gap_pairs import GapPair, gap_pairs
from karma_matching.budget.relative_features import signs, stored_signs, word_similarity, words_of
from karma_matching.budget.sure_labels import (
    ENOUGH,
    NO_CALL,
    START,
    SURE,
    TIE,
    UNSURE,
    SureRule,
    SureState,
    label_or_judge,
    threshold,
)
from karma_matching.pairing import form

RULE = SureRule(models=8)
MODELS = "abcdefgh"


def pair(win: float, tie: float = 0.1, models: str = "ab") -> GapPair:
    return GapPair(models[0], models[1], win, tie)


def any_models(draws: np.random.Generator) -> str:
    return "".join(draws.choice(list(MODELS), 2, replace=False))


def decided(
    pairs: Sequence[GapPair], rule: SureRule = RULE, state: SureState | None = None, **limits: float
) -> tuple[list[Decision], SureState]:
    """One prompt a pair."""
    rng, decisions, state = random.Random(7), [], state or SureState()
    for each in pairs:
        new, state = label_or_judge([each], rule, state, rng, **limits)
        decisions += new
    return decisions, state


def mixed(number: int, sure: float, seed: int = 0) -> list[GapPair]:
    draws = np.random.default_rng(seed)
    return [pair(0.97 if draws.random() < sure else 0.6, models=any_models(draws)) for _ in range(number)]


def test_sure_pairs_are_labeled_from_the_first_one_on_but_for_an_audit() -> None:
    pairs = mixed(2000, sure=1.0)
    decisions, state = decided(pairs)

    assert all(decision.probability == RULE.audit_share and decision.sure for decision in decisions)
    assert {decision.why for decision in decisions} == {SURE, "audit"}
    assert np.mean([decision.judged for decision in decisions]) == pytest.approx(RULE.audit_share, abs=0.02)
    assert state.seen == 2000


def test_the_first_unsure_pairs_are_judged_and_then_as_many_as_the_share_allows() -> None:
    decisions, state = decided(
        [pair(0.5 + 0.2 * (n % 2), models=MODELS[n % 7] + MODELS[n % 7 + 1]) for n in range(3000)]
    )

    assert all(decision.judged and decision.why == UNSURE for decision in decisions[:START])
    assert not any(decision.sure for decision in decisions)
    left_out = [decision for decision in decisions if not decision.judged]
    assert {decision.why for decision in left_out} == {NO_CALL}
    assert state.judged == pytest.approx(RULE.judge_share * 3000, rel=0.15)
    late = [decision.judged for decision in decisions[1000:]]
    halves = np.mean(late[:1000]), np.mean(late[1000:])
    assert halves[0] == pytest.approx(halves[1], abs=0.08)  # the calls last


@given(
    share=st.floats(0.01, 1.0),
    audit=st.floats(0.001, 0.5),
    wins=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=60),
    ties=st.floats(0.0, 1.0),
    seen=st.integers(0, 10_000),
    judged=st.integers(0, 3_000),
    ceiling=st.floats(0.0, 1.0) | st.sampled_from([math.inf, -math.inf]),
)
def test_every_pair_has_a_recorded_chance_above_zero(share, audit, wins, ties, seen, judged, ceiling) -> None:
    rule, state = replace(RULE, judge_share=share, audit_share=audit), SureState(seen + judged, judged)
    decisions, after = label_or_judge([pair(win, ties) for win in wins], rule, state, random.Random(1), ceiling)

    assert all(0.0 < decision.probability <= 1.0 and decision.why for decision in decisions)
    assert all(0.0 <= decision.information <= 1.0 for decision in decisions)
    assert after.seen == state.seen + len(wins)
    assert not any(decision.sure for decision, win in zip(decisions, wins, strict=True) if max(win, 1 - win) < 0.75)


@given(st.integers(0, 50), st.floats(0.0, 1.0), st.floats(0.02, 0.6))
def test_calls_stay_within_the_start_or_the_share_and_the_audits(seed: int, sure: float, share: float) -> None:
    rule = replace(RULE, judge_share=share)
    decisions, state = decided(mixed(700, sure, seed), rule)

    judged = [decision for decision in decisions if decision.judged]
    audits = sum(decision.probability == rule.audit_share for decision in judged)
    assert len(judged) == state.judged
    assert len(judged) - audits <= max(START, share * len(decisions))


@given(seed=st.integers(0, 30), several=st.booleans())
def test_one_ordered_pair_is_only_a_part_of_the_preferences(seed: int, several: bool) -> None:
    """Three quarters of the pairs are of one model over another, and sure."""
    draws = np.random.default_rng(seed)
    pairs = [pair(0.97, models="ab" if draws.random() < 0.75 else any_models(draws)) for _ in range(1500)]
    if several:
        decisions, state = label_or_judge(pairs, RULE, SureState(), random.Random(seed))
    else:
        decisions, state = decided(pairs)

    labels = Counter((p.model_a, p.model_b) for p, d in zip(pairs, decisions, strict=True) if d.sure and not d.judged)
    most = state.preferences["a", "b"] / sum(state.preferences.values())
    assert RULE.most_of_one < most < 0.33  # of three quarters
    assert state.preferences["a", "b"] == pytest.approx(0.5 * RULE.most_of_one * state.offered, rel=0.1)
    assert labels["a", "b"] / labels.total() < 0.35
    assert ENOUGH in {decision.why for decision in decisions if not decision.sure}


def test_the_cap_is_wider_in_small_pools_and_where_every_pair_holds_the_target() -> None:
    assert SureRule(models=12).most_of_one == 0.15
    assert SureRule(models=8).most_of_one == 1.5 / 8  # two good models and four of the lower half
    assert SureRule(models=4).most_of_one == 1.5 / 4
    assert SureRule(models=12, target=True).most_of_one == 0.5


@pytest.mark.parametrize("ordered", [1, 3, 6])
def test_a_few_ordered_pairs_do_not_stop_each_other(ordered: int) -> None:
    """Where the other models are out of reach; each is below the cap or gets half of it of what is offered."""
    rule = SureRule(models=12)
    pairs = [pair(0.97, models=["ab", "cd", "ef", "ac", "bd", "ce"][n % ordered]) for n in range(3000)]
    decisions, state = decided(pairs, rule)

    preferences = np.mean([decision.sure or decision.judged for decision in decisions[1000:]])
    assert preferences == pytest.approx(ordered * 0.5 * rule.most_of_one, rel=0.15)
    assert state.offered <= 1001.0
    earlier = json.loads(BudgetState().to_json(sure=state.to_dict()))
    del earlier["sure"]["offered"]
    assert SureState.from_json(json.dumps(earlier)).offered == pytest.approx(sum(state.preferences.values()), abs=0.01)


@pytest.mark.parametrize("models", [4, 5, 6, 8, 12])
@pytest.mark.parametrize("answers", [2, 4])
def test_pairs_of_wide_gap_stay_below_the_cap_although_all_rank_the_models_alike(models: int, answers: int) -> None:
    names = [f"m{number:02}" for number in range(models)]
    known = replace(
        Snapshot.empty(names),
        mean=np.append(np.linspace(4, -4, models), 0.0)[None, :],
        deviation=np.full((1, models + 1), 0.05),
    )
    planned = plan(
        [PlannedPrompt(seed, None) for seed in range(600)], names, "wide-gap", answers, known, explore_share=0.0
    )
    state, rng, decisions = SureState(), random.Random(1), []
    for number, chosen in enumerate(planned):
        found = [Candidate(n, name, 0, f"{name} {number} {n}", None, {}) for n, (name, _) in enumerate(chosen)]
        formed, _ = form(found, "wide-gap", answers // 2, known, None, number)
        sides = [(found[each.a].model, found[each.b].model) for each in formed]
        pairs = [GapPair(a, b, 0.97 if a < b else 0.03, 0.05) for a, b in sides]
        new, state = label_or_judge(pairs, SureRule(models=models), state, rng)
        decisions += new

    assert len(decisions) == 300 * answers
    assert sum(decision.why == ENOUGH for decision in decisions) <= 0.02 * len(decisions)


def test_likely_ties_are_left_out_once_the_start_is_judged() -> None:
    early, state = decided([pair(0.97, tie=0.6)] * 20)
    assert all(decision.judged and not decision.sure for decision in early)

    late, _ = decided([pair(0.97, tie=0.6)] * 400, state=replace(state, seen=500, judged=START))
    assert {decision.why for decision in late} == {TIE}
    assert all(decision.probability == RULE.audit_share and not decision.sure for decision in late)
    assert sum(decision.judged for decision in late) < 45


def test_the_threshold_falls_where_few_pairs_reach_it_and_never_below_three_quarters() -> None:
    draws = np.random.default_rng(1)
    near = [pair(win, models=any_models(draws)) for win in draws.uniform(0.76, 0.9, 600)]
    _, state = decided(near)
    assert threshold(state, 0.9) == pytest.approx(0.76 + 0.2 * 0.14, abs=0.015)
    assert 0.7 < np.mean([max(p.win, 1 - p.win) >= threshold(state, 0.9) for p in near]) < 0.9

    _, state = decided([pair(0.6)] * 600)
    assert threshold(state, 0.9) == 0.75
    _, state = decided([pair(0.99, models=any_models(draws)) for _ in range(600)])
    assert threshold(state, 0.9) == 0.9


def test_at_first_two_models_that_never_met_are_not_sure() -> None:
    unmet = [replace(each, met=0.5) for each in mixed(400, sure=1.0)]
    decisions, _ = decided(unmet)

    assert all(decision.judged and not decision.sure for decision in decisions[:START])
    assert all(decision.sure for decision in decisions[START:])


@pytest.mark.parametrize("models", [1, 2, 3])
def test_few_models_are_never_labeled_by_prediction(models: int) -> None:
    decisions, _ = decided([pair(0.99)] * 50, replace(RULE, models=models))

    assert all(decision.judged and not decision.sure for decision in decisions)


def test_two_responses_of_one_model_are_never_labeled_by_prediction() -> None:
    decisions, _ = decided([pair(0.99, models="aa")] * 50)

    assert not any(decision.sure for decision in decisions)


def test_a_limit_on_the_label_error_goes_before_the_budget() -> None:
    pairs = mixed(400, sure=1.0)
    unknown, state = decided(pairs, ceiling=-math.inf)
    assert all(decision.judged and decision.why == "the label might be wrong" for decision in unknown)
    assert state.judged == 0  # the budget does not make up for them

    known, _ = decided(pairs, ceiling=pairs[0].information)
    assert sum(decision.judged for decision in known) < 50


def test_an_hourly_limit_holds_and_sure_pairs_are_labeled_all_the_same() -> None:
    decisions, _ = decided(mixed(200, sure=0.5), affordable=0.0, left=0.0)

    assert {decision.why for decision in decisions} == {SPENT}
    assert {decision.probability for decision in decisions} == {0.0}
    assert 0.3 < np.mean([bool(decision.sure) for decision in decisions]) < 0.7


def test_the_state_survives_the_store_and_a_state_of_earlier_versions_starts_empty() -> None:
    _, state = decided(mixed(300, sure=0.7))
    stored = BudgetState(seen=300, judged=120).to_json(sure=state.to_dict())

    read = SureState.from_json(stored)
    assert (read.seen, read.judged) == (state.seen, state.judged)
    assert read.preferences == pytest.approx(dict(state.preferences), abs=0.001)
    assert read.histogram == pytest.approx(state.histogram, abs=0.001)
    assert BudgetState.from_json(stored).judged == 120
    assert SureState.from_json(None) == SureState.from_json(BudgetState(seen=9).to_json()) == SureState()
    assert "sure" not in json.loads(BudgetState(seen=9).to_json())


SNAPSHOT = replace(
    Snapshot.empty(["strong", "weak"]),
    mean=np.array([[2.0, -2.0, 0.0]]),
    win=np.array([[[0.5, 0.8, 0.5], [0.2, 0.5, 0.5], [0.5, 0.5, 0.5]]]),
    gap_deviation=np.full((1, 3, 3), 2.0),
)
#: Likeness, agreement, support of a and of b.
SIGNS = PairSigns(*np.array([[0.5], [0.0], [0.75], [0.25]]))
TURNED = PairSigns(*np.array([[0.5], [0.0], [0.25], [0.75]]))


def predicted(snapshot: Snapshot, a: str = "strong", b: str = "weak") -> GapPair:
    return gap_pairs(snapshot, None, [a], [b], SIGNS if a == "strong" else TURNED)[0]


def test_the_prediction_has_the_uncertainty_of_the_competencies_in_it() -> None:
    """At the mean gap of 4 logits it would be .98."""
    assert predicted(SNAPSHOT).win == 0.8
    assert predicted(SNAPSHOT, "weak", "strong").win == pytest.approx(0.2)


def test_the_label_model_goes_before_the_ties_of_the_competencies() -> None:
    """Competencies of 2 and −2, likeness .5, agreement 0, support of the better one .75 and of the other .25."""
    none = ((0.0,) * 8,) * 8
    model = LabelModel((-1.0, 0.5, 0.25, 2.0, 4.0, -1.0, 2.0, 0.0), none, ("",), support=2.0, examples=100)
    snapshot = replace(SNAPSHOT, labels=model)

    assert predicted(SNAPSHOT).tie == pytest.approx(0.5 / (2 * math.cosh(2) + 0.5))
    assert predicted(snapshot).tie == pytest.approx(1 / (1 + math.exp(-(-1.0 + 1.0 - 0.5 + 1.0 - 0.75 + 0.5))))
    assert predicted(snapshot).win == pytest.approx(1 / (1 + math.exp(-(math.log(4) + 2.0 * 0.5))))
    turned = predicted(snapshot, "weak", "strong")
    assert (turned.tie, turned.win) == pytest.approx((predicted(snapshot).tie, 1 - predicted(snapshot).win))


@given(st.lists(st.sampled_from("uvwxyz"), min_size=3, max_size=6), st.data())
def test_support_is_the_likest_third_response(letters: list[str], data: st.DataObject) -> None:
    """The words of a response are some of six letters."""
    texts = [" ".join(data.draw(st.sets(st.sampled_from("uvwxyz"), min_size=1))) for _ in letters]
    words = [words_of(text) for text in texts]

    def jaccard(x: int, y: int) -> float:
        own, other = set(texts[x].split()), set(texts[y].split())
        return len(own & other) / len(own | other)

    found = signs(word_similarity(words), np.array([0]), np.array([1]), [0.5])
    rest = range(2, len(texts))
    assert found.agreement[0] == pytest.approx(jaccard(0, 1))
    assert found.support_a[0] == pytest.approx(max(jaccard(0, third) for third in rest))
    assert found.support_b[0] == pytest.approx(max(jaccard(1, third) for third in rest))
    (stored,) = stored_signs(found)
    assert stored["support"] == pytest.approx([found.support_a[0], found.support_b[0]], abs=1e-4)
    alone = signs(word_similarity(words[:2]), np.array([0]), np.array([1]), [0.5])
    assert (alone.support_a[0], alone.support_b[0]) == (0.0, 0.0)
