"""Models that no verdict connects: the gap between them is unknown, and its interval honest."""

from __future__ import annotations

import numpy as np
import pytest

from karma.ranking.connectedness import groups
from karma_scoring.fit.competency import Counts, Prior, fit
from karma_scoring.fit.group_means import with_group_means
from tests.benchmarks.hard_pools import disconnected_figures


def test_groups_are_those_of_several_models_that_verdicts_or_descent_join() -> None:
    comparisons = np.zeros((7, 7))
    for first, second in ((0, 3), (3, 5), (1, 2)):
        comparisons[first, second] = comparisons[second, first] = 1.0

    assert [group.tolist() for group in groups(comparisons.copy(), [])] == [[0, 3, 5], [1, 2]]
    assert [group.tolist() for group in groups(comparisons.copy(), [(4, 1)])] == [[0, 3, 5], [1, 2, 4]]
    assert groups(comparisons.copy(), [(1, 0)]) == [], "one group and models without verdicts"
    assert groups(np.zeros((3, 3)), []) == []


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


def test_one_verdict_across_makes_one_group() -> None:
    first, second = np.array([0, 2, 1]), np.array([1, 3, 2])
    wins = np.array([3.0, 1.0, 1.0])
    counts = Counts(np.full(3, -1), first, second, wins, np.ones(3), np.zeros(3))
    apart = Counts(*(column[:2] for column in (counts.skill, first, second, wins, np.ones(3), np.zeros(3))))

    joined, split = (fit(each, list("abcd"), [], Prior()).covariance[0] for each in (counts, apart))

    assert joined[0, 0] + joined[3, 3] - 2 * joined[0, 3] < split[0, 0] + split[3, 3] - 2 * split[0, 3]
