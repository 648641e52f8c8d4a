"""`wide-gap`: one of the best against one clearly worse, in changing combinations."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from karma.policies.candidates import Candidate, Candidates, Choice
from karma.policies.wide_gap import WideGap
from karma.ranking.snapshot import Snapshot
from karma_gateway.planning import PlannedPrompt, plan

MODELS = "abcdefgh"  # the best first
PROMPTS = [PlannedPrompt(seed, None) for seed in range(2000)]


def known(deviation: float = 0.01) -> Snapshot:
    mean = np.array([[4.0, 3.0, 2.0, 1.0, 0.0, -1.0, -2.0, -3.0, 0.0]])
    cold = Snapshot.empty(list(MODELS))
    return replace(cold, mean=mean, deviation=np.full((1, 9), deviation))


def answers(number: int, target: str | None = None, models: str = MODELS) -> Counter[str]:
    """How often each set of models answers, in the order of the plan."""
    planned = plan(PROMPTS, list(models), "wide-gap", number, known(), target, explore_share=0.0)
    return Counter("".join(model for model, _ in each) for each in planned)


def test_two_of_the_better_half_meet_two_of_the_lower_half() -> None:
    found = answers(4)

    assert {each[0] + each[2] for each in found} == {"ab"}
    assert Counter(letter for each in found for letter in each[1::2]) == dict.fromkeys("efgh", 6)
    assert max(found.values()) < 1.3 * len(PROMPTS) / 12  # all 12 alike


def test_of_two_models_neither_is_fixed() -> None:
    """No ordered pair of models is more than an eighth."""
    found = answers(2)

    assert found.keys() == {better + worse for better in "ab" for worse in "efgh"}
    assert max(found.values()) < 1.25 * len(PROMPTS) / 8


@pytest.mark.parametrize(("target", "first"), [("h", "a"), ("f", "a"), ("a", "efgh"), ("b", "efgh")])
def test_a_weak_target_meets_the_best_first_and_a_strong_one_a_worse_model(target: str, first: str) -> None:
    found = answers(4, target)

    assert {each[0] for each in found} == {target}
    assert {each[1] for each in found} <= set(first)
    better, worse = ({each[number] for each in found} for number in ((1, 2) if len(first) == 1 else (2, 1)))
    assert better <= set("ab") and worse <= set("defgh") - {target}


def test_the_opponent_of_a_target_changes() -> None:
    assert answers(2, "h").keys() == {"ha", "hb"}


@pytest.mark.parametrize("target", [None, "h"])
@pytest.mark.parametrize("deviation", [0.01, 2.0])
def test_a_tenth_of_the_prompts_explores_however_much_is_known(target: str | None, deviation: float) -> None:
    """They begin with the two models that they compare, of which the middle ones are."""
    usual = plan(PROMPTS, list(MODELS), "wide-gap", 4, known(deviation), target, explore_share=0.0)
    with_some = plan(PROMPTS, list(MODELS), "wide-gap", 4, known(deviation), target, explore_share=0.1)

    changed = [new for old, new in zip(usual, with_some, strict=True) if old != new]
    assert 0.05 < len(changed) / len(PROMPTS) < 0.13
    assert all(len(set(each)) == 4 and (target is None or each[0][0] == target) for each in changed)
    assert "c" in {model for each in changed for model, _ in each[:2]}


@given(st.integers(2, 8), st.integers(2, 8), st.sampled_from([None, "a"]))
def test_as_many_different_models_answer_as_there_are(number: int, models: int, target: str | None) -> None:
    names = MODELS[:models]
    for each in plan(PROMPTS[:20], list(names), "wide-gap", number, known(1.0), target):
        assert len(set(each)) == len(each) == min(number, models)
        assert target is None or each[0] == (target, 0)


def chosen(qualities: list[float], count: int, seed: int = 1, texts: list[str] | None = None) -> list[Choice]:
    candidates = tuple(
        Candidate(number, f"m{number}", 0, texts[number] if texts else f"text {number}", quality, {})
        for number, quality in enumerate(qualities)
    )
    pairs = [(x, y) for y in range(len(qualities)) for x in range(y)]
    return WideGap().choose(Candidates(candidates, pairs, Snapshot.empty(()), None), count, random.Random(seed))[0]


def sides(choices: list[Choice], number: int) -> list[tuple[int, int]]:
    pairs = [(x, y) for y in range(number) for x in range(y)]
    return [pairs[choice.pair] for choice in choices]


def test_a_second_pair_repeats_no_response_if_it_can() -> None:
    """Either good response meets either bad one, by the texts."""
    found = Counter(
        tuple(sides(chosen([4.0, 3.0, 1.0, 0.0], 2, texts=[f"{number} {n}" for n in range(4)]), 4))
        for number in range(400)
    )
    assert found.keys() == {((0, 2), (1, 3)), ((0, 3), (1, 2))}
    assert max(found.values()) < 250

    assert sorted(sides(chosen([4.0, 3.0, 1.0, 0.0], 4), 4)) == [(0, 2), (0, 3), (1, 2), (1, 3)]
    assert sides(chosen([4.0, 3.0, 0.0], 2), 3) in ([(0, 2), (1, 2)], [(0, 1), (0, 2)])


def test_of_many_the_best_meets_the_one_nearest_to_two_deviations_below_the_mean() -> None:
    spread = [0.97, 0.95, 0.9, 0.85, 0.8, 0.75, 0.72, 0.7, 0.65, 0.62, 0.6, 0.55, 0.5, 0.2, 0.0]
    assert sides(chosen(spread, 1), 15) == [(0, 13)]


@given(st.lists(st.integers(0, 4), min_size=2, max_size=7), st.integers(1, 30), st.integers(0, 99))
def test_pairs_are_different_and_do_not_depend_on_the_seed(qualities: list[int], count: int, seed: int) -> None:
    values = [float(quality) for quality in qualities]
    found = chosen(values, count, seed)

    pairs = sides(found, len(values))
    assert len(pairs) == len(set(pairs)) == min(count, len(values) * (len(values) - 1) // 2)
    assert pairs == sides(chosen(values, count, seed + 1), len(values))
    without_a_repeat = pairs[: min(count, len(values) // 2)]
    assert len({side for pair in without_a_repeat for side in pair}) == 2 * len(without_a_repeat)
    lowest_good = sorted(values)[-(len(values) // 2)]
    for x, y in without_a_repeat:
        assert max(values[x], values[y]) >= lowest_good >= min(values[x], values[y])
    assert {choice.probability for choice in found} == {1.0}


def test_equal_differences_favor_no_place() -> None:
    """Before anything is known, all responses are alike."""
    found = Counter(
        sides(chosen([0.0] * 4, 1, texts=[f"{number} {place}" for place in range(4)]), 4)[0] for number in range(600)
    )
    assert len(found) == 6
    assert max(found.values()) < 160
