"""Matching policies: what each pairs, and why."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from karma.errors import SettingsError
from karma.plugins.registry import POLICIES
from karma.policies.candidates import Candidate
from karma.policies.kin import Kin
from karma.ranking.snapshot import Snapshot
from karma_matching.pairing import FormedPair, form

MODELS = ("a", "b", "c", "d")


def known(means: Sequence[float] = (1.2, 1.0, 0.0, -2.2), comparisons: float = 50.0) -> Snapshot:
    """Four models of well-known competency: kinship and information fall with the gap."""
    cold = Snapshot.empty(MODELS)
    mean = np.array([[*means, 0.0]])
    gap = np.abs(mean[:, :, None] - mean[:, None, :])
    kinship = np.where(gap < 0.4, 0.9, 0.05)
    kinship[:, -1, :] = kinship[:, :, -1] = np.nan
    shared = np.full((1, 5, 5), comparisons)
    return replace(cold, mean=mean, kinship=kinship, information=np.exp(-gap), comparisons=shared)


def candidate(number: int, model: str, text: str | None = None, **fields: object) -> Candidate:
    """A response whose text is unlike all others unless it is given."""
    whole = Candidate(number, model, 0, text or f"text {number}", None, {})
    return replace(whole, **fields)  # type: ignore[arg-type]


FOUR = [candidate(10 + number, model) for number, model in enumerate(MODELS)]


def ids(pairs: list[FormedPair]) -> list[tuple[int, int]]:
    """Response ids of the pairs."""
    return [(pair.a, pair.b) for pair in pairs]


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_every_pair_says_why(policy: str) -> None:
    """Policy, reason, chance, and what was known of the two models."""
    pairs, reason = form([*FOUR, candidate(14, "a")], policy, 1, known(), None, seed=1)

    assert (len(pairs), reason) == (1, "")
    names = {"policy", "why", "probability", "kinship", "gap", "gap_deviation", "information", "likeness"}
    names |= {"competency_a", "competency_b"}
    assert names <= pairs[0].reasons.keys()
    assert pairs[0].reasons["policy"] == policy
    assert pairs[0].reasons["why"]


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_a_prompt_without_two_usable_answers_has_no_pair(policy: str) -> None:
    """A blank text is no answer."""
    assert form([candidate(1, "a"), candidate(2, "a", " \n")], policy, 1, known(), None, 1) == (
        [],
        "fewer than two usable answers",
    )


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_a_prompt_with_one_text_only_has_no_pair(policy: str) -> None:
    """Near-duplicates would teach nothing."""
    same = [candidate(1, "a", "Yes."), candidate(2, "a", "yes. ")]

    assert form(same, policy, 1, known(), None, 1) == ([], "near-duplicates only")


def test_a_prompt_without_the_targets_answer_has_no_pair() -> None:
    """It would not be on-policy data."""
    assert form(FOUR, "random", 1, known(), None, 1, target="z") == ([], "no answer of the target")


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_with_a_target_every_pair_holds_one_of_its_answers(policy: str) -> None:
    """Whatever the policy, and however many pairs."""
    candidates = [*FOUR, candidate(14, "c")]
    pairs, _ = form(candidates, policy, 0, known((1.2, 1.0, 0.9, -2.2)), None, 1, target="c")

    assert pairs
    assert all({pair.a, pair.b} & {12, 14} for pair in pairs)


def test_a_pair_keeps_the_competencies_of_its_models_in_the_prompts_skill() -> None:
    """Unknown of a model that no refit has seen."""
    (pair,), _ = form([candidate(1, "a"), candidate(2, "d")], "random", 1, known(), "unheard of", 1)
    (unseen,), _ = form([candidate(1, "a"), candidate(2, "z")], "random", 1, known(), None, 1)

    assert (pair.reasons["competency_a"], pair.reasons["competency_b"]) == (1.2, -2.2)
    assert (unseen.reasons["competency_a"], unseen.reasons["competency_b"]) == (1.2, None)


def test_informative_draws_in_proportion_to_information() -> None:
    """Over many seeds, as the recorded chance says."""
    times, seen, chance = 2000, Counter[tuple[int, int]](), dict[tuple[int, int], float]()
    for seed in range(times):
        (pair,), _ = form(FOUR, "informative", 1, known(), None, seed)
        seen[pair.a, pair.b] += 1
        chance[pair.a, pair.b] = float(pair.reasons["probability"] or 0)

    assert chance[10, 11] / chance[10, 12] == pytest.approx(np.exp(-0.2) / np.exp(-1.2))
    for pair_ids, probability in chance.items():
        assert seen[pair_ids] / times == pytest.approx(probability, abs=0.03)


def test_kin_takes_the_pair_above_the_threshold() -> None:
    """Known competencies, one pair of kin."""
    (pair,), _ = form(FOUR, "kin", 1, known(), None, 1)

    assert (pair.a, pair.b) == (10, 11)
    assert pair.reasons["why"] == "greatest kinship and similarity"


def test_kin_prefers_the_more_similar_of_two_equal_kin() -> None:
    """Similarity in quality and length decides between pairs of equal kinship."""
    texts = {"a": "one two", "b": "x" * 500, "c": "two ones", "d": "y" * 90}
    candidates = [candidate(10 + number, model, texts[model]) for number, model in enumerate(MODELS)]

    (pair,), _ = form(candidates, "kin", 1, known((0.0, 0.0, 0.0, 5.0)), None, 1)

    assert (pair.a, pair.b) == (10, 12)


def test_kin_says_when_nothing_is_above_the_threshold() -> None:
    """All competencies known, all far apart."""
    assert form(FOUR, "kin", 1, known((9, 6, 3, 0)), None, 1) == ([], "nothing above the kinship threshold")


def test_kin_explores_by_rank_until_two_models_share_enough_verdicts() -> None:
    """The nearest by competency, with that reason; a plug-in threshold may ask for less."""
    young = known((1.0, 0.4, -0.3, -2.2), comparisons=3.0)

    (pair,), _ = form(FOUR, "kin", 1, young, None, 1)

    assert (pair.a, pair.b) == (10, 11)
    assert str(pair.reasons["why"]).startswith("exploring")
    assert form(FOUR, Kin(comparisons=3.0), 1, young, None, 1)[1] == "nothing above the kinship threshold"


def test_best_versus_worst_goes_by_quality_where_all_have_it() -> None:
    """Else by the models' competency: never both at once."""
    scored = [replace(one, quality=quality) for one, quality in zip(FOUR, (0.1, 0.9, 0.5, 0.4), strict=True)]
    partly = [*scored[:3], FOUR[3]]

    assert ids(form(scored, "best-vs-worst", 1, known(), None, 1)[0]) == [(10, 11)]
    assert ids(form(partly, "best-vs-worst", 1, known(), None, 1)[0]) == [(10, 13)]


def test_best_versus_random_always_holds_the_best() -> None:
    """Against each of the others with the same chance."""
    pairs = [form(FOUR, "best-vs-random", 1, known(), None, seed)[0][0] for seed in range(60)]

    assert set(ids(pairs)) == {(10, 11), (10, 12), (10, 13)}
    assert {pair.reasons["probability"] for pair in pairs} == {1 / 3}


def test_all_pairs_forms_all_or_a_seeded_sample() -> None:
    """Six pairs of four answers; a sample reports its chance."""
    assert len(form(FOUR, "all-pairs", 0, known(), None, 1)[0]) == 6
    sample, _ = form(FOUR, "all-pairs", 2, known(), None, 1)
    assert [pair.reasons["probability"] for pair in sample] == pytest.approx([1 / 3, 1 / 3])


def test_self_pairs_two_samples_of_one_model() -> None:
    """And says when there are none."""
    assert ids(form([*FOUR, candidate(14, "b")], "self", 0, known(), None, 1)[0]) == [(11, 14)]
    assert form(FOUR, "self", 1, known(), None, 1) == ([], "no two answers of one model")


@pytest.mark.parametrize("policy", ["informative", "kin"])
def test_two_samples_of_one_model_are_paired_only_where_there_is_nothing_else(policy: str) -> None:
    """They compare no models, however near kin they are."""
    twice = [candidate(1, "a"), candidate(2, "a")]

    assert ids(form(twice, policy, 1, known(), None, 1)[0]) == [(1, 2)]
    assert ids(form([*twice, candidate(3, "b")], policy, 0, known(), None, 1)[0]) == [(1, 3), (2, 3)]


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_models_unknown_to_the_snapshot_are_paired_too(policy: str) -> None:
    """A cold start needs no special case."""
    candidates = [candidate(1, "new"), candidate(2, "newer"), candidate(3, "new")]

    pairs, _ = form(candidates, policy, 1, Snapshot.empty(), "math", 1)

    assert len(pairs) == 1


def test_an_unknown_policy_is_refused_with_those_that_exist() -> None:
    """The error names them."""
    with pytest.raises(SettingsError, match=r"no \w+ is called 'best'; known are: all-pairs, best-vs-random"):
        form(FOUR, "best", 1, known(), None, 1)


@pytest.mark.parametrize("policy", sorted(POLICIES))
@given(lengths=st.lists(st.integers(1, 40), min_size=4, max_size=4), most=st.floats(1.0, 4.0))
def test_no_pair_has_lengths_beyond_the_streams_ratio(policy: str, lengths: list[int], most: float) -> None:
    """Nor is a pair within the ratio kept out: all pairs without a limit are all within it."""
    four = [
        candidate(10 + number, model, model * length)
        for number, (model, length) in enumerate(zip(MODELS, lengths, strict=True))
    ]
    within = [pair for pair in combinations(range(4), 2) if _ratio(*(lengths[index] for index in pair)) <= most]

    pairs, reason = form(four, policy, 0, known(comparisons=0.0), None, 1, max_length_ratio=most)

    assert {(pair.a - 10, pair.b - 10) for pair in pairs} <= set(within)
    if policy == "all-pairs":
        assert len(pairs) == len(within)
    if not within:
        assert (pairs, reason) == ([], "lengths beyond max_length_ratio only")


def _ratio(first: int, second: int) -> float:
    return max(first, second) / min(first, second)


def test_near_duplicates_are_said_before_lengths() -> None:
    """Equal texts have equal lengths: a larger ratio would form no pair either."""
    same = [candidate(1, "a", "Yes."), candidate(2, "a", "yes. ")]

    assert form(same, "random", 1, known(), None, 1, max_length_ratio=1.0)[1] == "near-duplicates only"
