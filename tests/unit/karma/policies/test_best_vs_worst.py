"""`best-vs-worst` with eight or more qualities: the best against the response nearest to μ − 2σ."""

import random
from collections import Counter
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karma.policies.best_vs_worst import BestVersusWorst
from karma.policies.candidates import Candidate, Candidates, Choice
from karma.policies.quality_gap import FEWEST_FOR_DEVIATIONS
from karma.ranking.snapshot import Snapshot

#: With an outlier: μ − 2σ is 0.13, nearest to 0.2; the minimum is 0.
SPREAD = (0.0, 0.2, 0.5, 0.55, 0.6, 0.62, 0.65, 0.7, 0.72, 0.75, 0.8, 0.85, 0.9, 0.95, 0.97)

FINITE = st.integers(-800, 800).map(lambda eighths: eighths / 8)  # sums of these are exact


def chosen(qualities: list[float | None], count: int = 1, seed: int = 1, target: str | None = None) -> list[Choice]:
    candidates, pairs = _candidates(qualities, target)
    return BestVersusWorst().choose(
        Candidates(candidates, pairs, Snapshot.empty(()), None), count, random.Random(seed)
    )[0]


def _candidates(
    qualities: list[float | None], target: str | None
) -> tuple[tuple[Candidate, ...], list[tuple[int, int]]]:
    """Responses of the models m0, m1…, and the pairs that hold one of the target."""
    candidates = tuple(
        Candidate(number, f"m{number}", 0, f"text {number}", quality, {}) for number, quality in enumerate(qualities)
    )
    pairs = [
        (x, y)
        for y in range(len(candidates))
        for x in range(y)
        if target is None or target in (candidates[x].model, candidates[y].model)
    ]
    return candidates, pairs


def qualities_of(choices: list[Choice], qualities: list[float | None], target: str | None = None) -> list[list[float]]:
    """The qualities of the pairs, the worse first."""
    _, pairs = _candidates(qualities, target)
    return [sorted(qualities[index] or 0.0 for index in pairs[choice.pair]) for choice in choices]


def test_the_best_of_many_is_paired_with_the_one_nearest_to_two_deviations_below_the_mean() -> None:
    (found,) = choices = chosen(list(SPREAD))

    assert qualities_of(choices, list(SPREAD)) == [[0.2, 0.97]]
    assert (found.why, found.probability) == ("best against nearest to μ − 2σ", 1.0)


@pytest.mark.parametrize("number", [2, FEWEST_FOR_DEVIATIONS - 1])
def test_of_fewer_the_worst_is_rejected(number: int) -> None:
    few: list[float | None] = [*SPREAD[: number - 1], SPREAD[-1]]

    choices = chosen(few)

    assert qualities_of(choices, few) == [[0.0, 0.97]]
    assert choices[0].why == "best against worst"


def test_responses_without_a_quality_are_in_no_pair_where_enough_have_one() -> None:
    mixed = [*SPREAD, None, None]

    assert qualities_of(chosen(mixed), mixed) == [[0.2, 0.97]]
    assert all(15 not in pair and 16 not in pair for pair in _pairs_of(mixed, chosen(mixed, count=1000)))


def test_where_few_have_a_quality_competency_decides_as_before() -> None:
    mixed = [*SPREAD[:7], *[None] * 5]

    assert chosen(mixed)[0].why == "best against worst"


def test_a_second_pair_gives_away_as_little_as_possible_of_both_sides() -> None:
    """0.95 instead of the best loses 0.02; the next response beyond μ − 2σ is farther away."""
    assert qualities_of(chosen(list(SPREAD), count=2), list(SPREAD)) in (
        [[0.2, 0.97], [0.2, 0.95]],
        [[0.2, 0.95], [0.2, 0.97]],
    )


def test_with_a_target_in_the_middle_its_response_is_chosen_over_a_low_one() -> None:
    """The best against the target would differ by little."""
    assert qualities_of(chosen(list(SPREAD), target="m7"), list(SPREAD), "m7") == [[0.2, 0.7]]


def test_with_a_low_target_its_response_is_rejected() -> None:
    assert qualities_of(chosen(list(SPREAD), target="m1"), list(SPREAD), "m1") == [[0.2, 0.97]]


def test_of_many_right_and_one_wrong_the_wrong_one_is_rejected() -> None:
    """μ − 2σ of 20 right responses and a wrong one is 0.53, nearer to the right ones."""
    checked: list[float | None] = [1.0] * 20 + [0.0]

    assert qualities_of(chosen(checked), checked) == [[0.0, 1.0]]


def test_equally_good_responses_are_drawn_alike_and_say_with_which_probability() -> None:
    checked: list[float | None] = [1.0] * 4 + [0.0] * 4
    seen = Counter(chosen(checked, seed=seed)[0].pair for seed in range(800))

    assert len(seen) == 16
    assert max(seen.values()) < 2 * 800 / 16
    assert chosen(checked)[0].probability == 1 / 16


@given(st.lists(FINITE, min_size=FEWEST_FOR_DEVIATIONS, max_size=24), st.integers(1, 30), st.integers(0, 99))
def test_the_first_pair_is_the_best_and_the_nearest_of_those_below_the_mean(
    values: list[float], count: int, seed: int
) -> None:
    low = fmean(values) - 2.0 * pstdev(values)
    below = [value for value in values if value < fmean(values)]

    choices = chosen(list(values), count, seed)
    (worse, better), *_ = qualities_of(chosen(list(values), 1, seed), list(values))

    assert len(choices) == len({choice.pair for choice in choices}) == min(count, len(values) * (len(values) - 1) // 2)
    assert better == max(values)
    if below:
        assert abs(worse - low) == pytest.approx(min(abs(value - low) for value in below), abs=1e-9)
        assert worse < better


@given(st.lists(st.integers(-100, 100), min_size=FEWEST_FOR_DEVIATIONS, max_size=24))
def test_the_scale_of_the_qualities_changes_nothing(values: list[int]) -> None:
    """A plug-in's scores may use a part of the range only. A power of two is exact, and so keeps ties."""
    first = chosen([float(value) for value in values])

    assert first == chosen([4.0 * value for value in values])


@given(st.lists(FINITE, min_size=FEWEST_FOR_DEVIATIONS, max_size=24), st.data())
def test_with_a_target_every_pair_holds_it(values: list[float], data: st.DataObject) -> None:
    target = data.draw(st.integers(0, len(values) - 1))

    found = chosen(list(values), 3, 1, f"m{target}")

    assert len(found) == 3
    assert all(target in pair for pair in _pairs_of(list(values), found, f"m{target}"))


def _pairs_of(qualities: list[float | None], choices: list[Choice], target: str | None = None) -> list[tuple[int, int]]:
    _, pairs = _candidates(qualities, target)
    return [pairs[choice.pair] for choice in choices]
