"""Planning: which models answer, under each policy."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from karma.policies.exploration import explored_share
from karma.ranking.snapshot import Snapshot
from karma_gateway.planning import Plan, PlannedPrompt, plan
from tests.benchmarks.cold_start import course

MODELS = ["a", "b", "c", "d", "e"]
POLICIES = ["informative", "kin", "random", "best-vs-worst", "best-vs-random", "all-pairs", "a plug-in"]
PROMPTS = [PlannedPrompt(seed, None) for seed in range(2000)]


def known(comparisons: float = 50.0) -> Snapshot:
    """a and b are kin at the top, c and d in the middle, e far below; all well known."""
    mean = np.array([[2.0, 1.9, 0.0, -0.1, -4.0, 0.0]])
    gap = np.abs(mean[:, :, None] - mean[:, None, :])
    cold = Snapshot.empty(MODELS)
    deviation = np.full((1, 6, 6), 0.2) * (1 - np.eye(6))
    deviation[:, 5, :] = deviation[:, :, 5] = 2.1
    return replace(
        cold,
        mean=mean,
        deviation=np.full((1, 6), 0.15),
        gap_deviation=deviation,
        kinship=np.where(gap < 0.4, 0.9, 0.01),
        information=np.exp(-gap),
        win=1 / (1 + np.exp(mean[:, None, :] - mean[:, :, None])),
        comparisons=np.full((1, 6, 6), comparisons),
    )


def sets(planned: Plan) -> Counter[str]:
    """How often each set of models answers."""
    return Counter("".join(sorted(model for model, _ in answers)) for answers in planned)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("number", [2, 3, 5])
@pytest.mark.parametrize("target", [None, "d"])
def test_each_prompt_is_answered_by_as_many_different_models(policy: str, number: int, target: str | None) -> None:
    """The target among them."""
    planned = plan(PROMPTS[:200], MODELS, policy, number, known(), target)

    for answers in planned:
        assert len(set(answers)) == number
        assert {sample for _, sample in answers} == {0}
        assert target is None or (target, 0) in answers


def test_zero_responses_ask_every_model() -> None:
    """As all-pairs wants it."""
    assert sets(plan(PROMPTS[:3], MODELS, "all-pairs", 0, known())) == {"abcde": 3}


def test_informative_asks_pairs_in_proportion_to_information() -> None:
    """Without exploring, over many prompts."""
    many = [PlannedPrompt(seed, None) for seed in range(20_000)]
    seen = sets(plan(many, MODELS, "informative", 2, known(), explore_share=0.0))

    assert seen["ab"] / seen["ac"] == pytest.approx(np.exp(1.9), rel=0.15)
    assert seen["ab"] / seen["cd"] == pytest.approx(1.0, rel=0.15)


def test_kin_asks_only_models_that_matching_will_pair() -> None:
    """e has no kin and is never asked."""
    assert sets(plan(PROMPTS, MODELS, "kin", 2, known())).keys() == {"ab", "cd"}


def test_kin_asks_the_targets_nearest_kin() -> None:
    """Whatever other kin there are."""
    assert sets(plan(PROMPTS[:50], MODELS, "kin", 2, known(), "d")) == {"cd": 50}


def test_kin_asks_models_that_share_few_verdicts_nearest_first() -> None:
    """Unknown kinship is no refusal: e is tried with d, its nearest."""
    young = replace(known(3.0), kinship=np.full((1, 6, 6), np.nan))

    assert sets(plan(PROMPTS, MODELS, "kin", 2, young, explore_share=0.0)).keys() == {"ab", "cd", "de"}


def test_best_versus_worst_asks_the_extremes() -> None:
    """a or b, as their difference is within the posterior, against e."""
    assert sets(plan(PROMPTS, MODELS, "best-vs-worst", 2, known())).keys() == {"ae", "be"}


def test_best_versus_worst_asks_those_farthest_from_the_target() -> None:
    """e again."""
    assert sets(plan(PROMPTS[:50], MODELS, "best-vs-worst", 2, known(), "d")) == {"de": 50}


def test_best_versus_random_asks_one_of_the_best_and_anyone() -> None:
    """Every set holds a or b."""
    assert sets(plan(PROMPTS, MODELS, "best-vs-random", 2, known())).keys() == {
        "ab",
        "ac",
        "ad",
        "ae",
        "bc",
        "bd",
        "be",
    }


def test_random_asks_all_sets_alike() -> None:
    """Ten sets of two in 2,000 prompts."""
    seen = sets(plan(PROMPTS, MODELS, "random", 2, known()))

    assert len(seen) == 10
    assert min(seen.values()) > 150 and max(seen.values()) < 250


def test_self_asks_one_model_for_several_samples() -> None:
    """The target where there is one; one eligible model is enough."""
    (answers,) = plan(PROMPTS[:1], MODELS, "self", 3, known(), "d")
    assert answers == (("d", 0), ("d", 1), ("d", 2))
    assert plan(PROMPTS[:1], ["a"], "self", 0, known()) == [(("a", 0), ("a", 1))]
    assert {answers[0][0] for answers in plan(PROMPTS[:99], MODELS, "self", 2, known())} == set(MODELS)


def unsure(mean_of_e: float) -> Snapshot:
    """As `known`, but for e, which may be two logits off."""
    one = known()
    deviation, mean = one.gap_deviation.copy(), one.mean.copy()
    deviation[:, 4, :4] = deviation[:, :4, 4] = 2.0
    mean[0, 4] = mean_of_e
    return replace(one, mean=mean, gap_deviation=deviation, information=np.full((1, 6, 6), 0.5))


def test_exploring_asks_about_the_model_whose_rank_is_least_known() -> None:
    """e may be anywhere among the others; a batch goes on to what is open once that is answered."""
    first = sets(plan(PROMPTS[:8], MODELS, "informative", 2, unsure(1.0), explore_share=1.0))
    seen = sets(plan(PROMPTS, MODELS, "informative", 2, unsure(1.0), explore_share=1.0))

    assert sum(count for models, count in first.items() if "e" in models) >= 4
    assert len({models for models in first if "e" in models}) >= 3
    assert {"ab", "cd"} < set(seen)


def test_exploring_leaves_a_gap_that_changes_no_rank() -> None:
    """However unsure e's competency is, at 20 logits below it is last; a and b, nearly equal, are what is open."""
    first = sets(plan(PROMPTS[:8], MODELS, "informative", 2, unsure(-20.0), explore_share=1.0))

    assert set(first) == {"ab", "cd"}


def test_exploring_spreads_over_the_skills_of_a_batch() -> None:
    """Ten prompts of five skills ask about most of the ten pairs; every skill by itself would ask the same two."""
    snapshot = Snapshot.empty(MODELS, ["v", "w", "x", "y", "z"])
    prompts = [PlannedPrompt(seed, "vwxyz"[seed % 5]) for seed in range(10)]

    assert len(sets(plan(prompts, MODELS, "informative", 2, snapshot, explore_share=1.0))) >= 8


def test_exploring_at_a_cold_start_asks_every_pair_about_equally_often() -> None:
    """Spread within a batch, where independent draws would repeat themselves."""
    seen = sets(plan(PROMPTS[:100], MODELS, "informative", 2, Snapshot.empty(), explore_share=1.0))

    assert len(seen) == 10
    assert max(seen.values()) - min(seen.values()) <= 4


def test_all_is_explored_while_nothing_is_known() -> None:
    """Every prompt until the variance of a median gap is a tenth of the prior one, then soon a tenth of them."""
    cold = Snapshot.empty().matrix("gap_deviation", MODELS, None) ** 2
    shares = [explored_share(0.1, known * cold, cold[0, 1]) for known in (1.0, 0.1, 0.05, 0.01)]
    assert shares == pytest.approx([1.0, 1.0, 0.1 + 0.9 * 0.25, 0.109])
    assert explored_share(0.0, cold, cold[0, 1]) == 0.0


def test_the_share_that_explores_is_that_of_the_overall_competencies() -> None:
    """What is compared depends on these, so an unknown skill of a known pool does not explore in every prompt."""
    overall = known()
    unknown = np.full((1, 6, 6), 2.1) * (1 - np.eye(6))
    doubled = {
        name: np.repeat(getattr(overall, name), 2, axis=0)
        for name in ("mean", "deviation", "kinship", "information", "win", "comparisons")
    }
    gap_deviation = np.concatenate([np.where(overall.gap_deviation < 2.0, 0.02, 2.1), unknown])
    snapshot = replace(overall, skills=("new",), gap_deviation=gap_deviation, **doubled)
    prompts = [PlannedPrompt(seed, "new") for seed in range(200)]

    hardly, never = (plan(prompts, MODELS, "informative", 2, snapshot, explore_share=share) for share in (1e-9, 0.0))

    assert hardly == never


def test_a_cold_pool_is_ranked_as_if_every_prompt_explored() -> None:
    """By default the first 200 comparisons are the same; after a long stream few prompts explore."""
    default, exploring = course(20, 3, at_least=2000, most=2000), course(20, 3, 1.0, at_least=200, most=200)

    assert (default.agreement[:8] == exploring.agreement[:8]).all()
    assert default.explored[-1] < 0.15


@pytest.mark.parametrize("policy", POLICIES)
def test_the_same_arguments_give_the_same_plan(policy: str) -> None:
    """In whatever order the models are named."""
    first = plan(PROMPTS[:64], MODELS, policy, 2, known())

    assert first == plan(PROMPTS[:64], MODELS[::-1], policy, 2, known())
    assert first != plan(
        [PlannedPrompt(prompt.seed + 9999, None) for prompt in PROMPTS[:64]], MODELS, policy, 2, known()
    )


def test_each_prompt_is_planned_by_its_own_skill() -> None:
    """Kin in one skill are not kin in the other; an unknown skill reads the overall competency."""
    two = np.concatenate([known().kinship, np.full((1, 6, 6), 0.01)])
    two[1, 0, 4] = two[1, 4, 0] = 0.95
    one = known()
    snapshot = replace(
        one,
        skills=("math",),
        kinship=two,
        mean=one.mean.repeat(2, axis=0),
        deviation=one.deviation.repeat(2, axis=0),
        gap_deviation=one.gap_deviation.repeat(2, axis=0),
        information=one.information.repeat(2, axis=0),
        win=one.win.repeat(2, axis=0),
        comparisons=one.comparisons.repeat(2, axis=0),
    )

    prompts = [PlannedPrompt(seed, skill) for seed in range(60) for skill in ("math", "poetry", None)]
    planned = plan(prompts, MODELS, "kin", 2, snapshot)

    assert sets(planned[0::3]).keys() == {"ae"}
    assert sets(planned[1::3]).keys() == {"ab", "cd"}
    assert sets(planned[2::3]).keys() == {"ab", "cd"}


@pytest.mark.parametrize(("models", "target"), [(["a"], None), ([], None), (["a", "b"], "z")])
def test_nothing_is_asked_where_no_pair_could_come_of_it(models: list[str], target: str | None) -> None:
    """The prompts wait."""
    assert plan(PROMPTS[:2], models, "informative", 2, known(), target) == [(), ()]


@pytest.mark.parametrize("number", [1, -1])
def test_a_single_response_is_refused(number: int) -> None:
    """It could not be paired."""
    with pytest.raises(ValueError, match="a pair needs at least 2"):
        plan(PROMPTS, MODELS, "random", number, known())


def test_no_prompts_need_no_plan() -> None:
    """And any seed is welcome."""
    assert plan([], MODELS, "informative", 2, known()) == []
    assert len(plan([PlannedPrompt(-(2**70), None)], MODELS, "informative", 2, known())) == 1
