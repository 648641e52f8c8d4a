"""Models that few verdicts connect or none: the gap between them is hardly known, and its interval honest."""

from __future__ import annotations

import numpy as np
import pytest

from karma.ranking.connectedness import groups_apart
from karma_scoring.fit.connectedness import groups
from karma_scoring.fit.group_means import with_group_means
from tests.benchmarks.hard_pools import disconnected_figures


def test_groups_are_those_of_several_models_that_verdicts_or_descent_join() -> None:
    comparisons = np.zeros((7, 7))
    for first, second in ((0, 3), (3, 5), (1, 2)):
        comparisons[first, second] = comparisons[second, first] = 1.0

    assert [group.tolist() for group in groups(comparisons, [])] == [[0, 3, 5], [1, 2]]
    assert [group.tolist() for group in groups(comparisons, [(4, 1)])] == [[0, 3, 5], [1, 2, 4]]
    assert groups(comparisons, [(1, 0)]) == [], "one group and models without verdicts"
    assert groups(np.zeros((3, 3)), []) == []


def test_a_trace_of_a_verdict_connects_nothing() -> None:
    """Neither beside a million verdicts, where its share of a sum is rounded away, nor where years made it so small."""
    few = np.zeros((5, 5))
    for first, second, number in ((0, 1, 1e6), (1, 2, 1e-9), (2, 3, 1e-9), (3, 4, 1e6), (0, 4, 1e-9)):
        few[first, second] = few[second, first] = number
    thin = np.where(few == 1e-9, 1.5e-3, few * 1e12)

    assert [group.tolist() for group in groups(few, [])] == [[0, 1], [3, 4]]
    assert [group.tolist() for group in groups_apart(few)] == [[0, 1], [3, 4]]
    with np.errstate(all="raise"):
        assert len(groups(thin, [])) == 2


def test_a_group_s_mean_adds_its_variance_to_the_prior() -> None:
    precision, mean = np.diag([1.0, 4.0, 2.0, 1.0]), np.array([1.0, 0.5, -1.0, 0.0])
    members = [np.array([0, 2]), np.array([1, 3])]
    expected = np.linalg.inv(precision)
    for group in members:
        expected[np.ix_(group, group)] += 0.3**2

    found, shift = with_group_means(precision, precision @ mean, members, 0.3)

    np.testing.assert_allclose(np.linalg.inv(found), expected)
    np.testing.assert_allclose(np.linalg.solve(found, shift), mean, atol=1e-12)


@pytest.mark.parametrize("size", [3, 8])
def test_a_gap_across_groups_is_unknown_and_its_interval_holds(size: int) -> None:
    """With one prior mean for all models, 39 and 4 % of the intervals would hold."""
    covered, _error, kin = disconnected_figures(size, 2.0, 20)

    assert covered >= 0.85
    assert kin == 0.0


@pytest.mark.parametrize("bridges", [20, 200, 400])
def test_few_verdicts_across_leave_the_gap_wide(bridges: int) -> None:
    """With one prior mean for all models, 49 and 86 % of the intervals held at 20 and 200 verdicts across."""
    covered, error, _kin = disconnected_figures(8, 2.0, 25, bridges)

    assert covered >= 0.85 - error


def test_a_thin_connection_divides_and_a_thick_one_does_not() -> None:
    within = np.kron(np.eye(2), 30.0 * (1.0 - np.eye(4)))
    across = np.kron(1.0 - np.eye(2), np.ones((4, 4)))

    assert [group.tolist() for group in groups(within + 3.0 * across, [])] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert groups(within + 3.0 * across, [(0, 4)]) == [], "a family is not divided"
    assert groups(within + 15.0 * across, []) == []


def test_random_pairs_are_one_group() -> None:
    rng = np.random.default_rng(0)
    for models, verdicts in ((8, 100), (30, 600), (100, 4000)):
        comparisons = np.zeros((models, models))
        first = rng.integers(models, size=verdicts)
        np.add.at(comparisons, (first, (first + rng.integers(1, models, size=verdicts)) % models), 1.0)
        assert groups(comparisons + comparisons.T, []) == []


def test_the_names_order_does_not_change_the_groups() -> None:
    rng = np.random.default_rng(1)
    comparisons = np.kron(np.eye(3), 20.0 * (1.0 - np.eye(5))) + 1.0 - np.eye(15)
    order = rng.permutation(15)

    found = {frozenset(group.tolist()) for group in groups(comparisons, [])}
    shuffled = {frozenset(order[group].tolist()) for group in groups(comparisons[np.ix_(order, order)], [])}

    assert found == shuffled == {frozenset(range(start, start + 5)) for start in (0, 5, 10)}


@pytest.mark.parametrize(("seed", "models", "verdicts"), [(254, 26, 46), (372, 49, 137), (1, 60, 60)])
def test_the_sides_of_a_cut_need_not_hang_together(seed: int, models: int, verdicts: int) -> None:
    """Sparse pools; in the first two a side of a cut holds models that are compared across the cut alone."""
    rng = np.random.default_rng(seed)
    rng.integers(4, 80), rng.integers(1, 4 * models)
    comparisons = np.zeros((models + 1, models + 1))
    first = rng.integers(models, size=verdicts)
    second = (first + rng.integers(1, models, size=verdicts)) % models
    np.add.at(comparisons, (first, second), rng.random(verdicts) ** 8)
    with np.errstate(all="raise", under="ignore"):
        found = groups(comparisons + comparisons.T, [(0, 1)])
    members = [int(model) for group in found for model in group]
    assert len(members) == len(set(members))
    assert models not in members, "the unseen model"
