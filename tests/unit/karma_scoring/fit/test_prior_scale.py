"""The prior's scale is learned: intervals hold in wide pools, in narrow ones, and for a model far ahead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from karma_scoring.fit.competency import Counts, Prior, fit
from karma_scoring.fit.prior_scale import fit_with_learned_scale, learned_prior
from tests.benchmarks.wide_pools import FAR, OTHERS, WIDE, WidePool, coverage, normal

NOTHING = Counts(*(np.zeros(0, dtype=np.int64) for _ in range(3)), *(np.zeros(0) for _ in range(3)))


@pytest.mark.parametrize(("pool", "repetitions"), [(WIDE, 80), (FAR[0], 120), (FAR[1], 80), (OTHERS[0], 20)])
def test_intervals_hold_whatever_the_pool_s_deviation(pool: WidePool, repetitions: int) -> None:
    """With 1.4 logits assumed, 67 % of the intervals of the wide pool held; 20 and 56 % of those of the model ahead."""
    covered, error = coverage(pool, repetitions)

    assert 0.85 - error <= covered <= 0.95 + error


def test_without_verdicts_the_assumed_deviation_stays() -> None:
    prior = learned_prior(NOTHING, list("abc"), Prior())

    assert prior.alpha_deviation == pytest.approx(1.4)
    assert prior.own_deviations == pytest.approx(dict.fromkeys("abc", 1.4))


@pytest.mark.parametrize(("deviation", "least", "most"), [(3.0, 2.0, 4.0), (0.3, 0.2, 0.9)])
def test_an_unseen_model_has_the_deviation_of_the_pool(deviation: float, least: float, most: float) -> None:
    rng = np.random.default_rng(2)
    pool = WidePool("", 30, 6000, normal(deviation, 30))
    verdicts = pool.counts(pool.draw(rng), rng)

    found = fit_with_learned_scale(verdicts, [f"m{number}" for number in range(30)], [], Prior())

    assert least < found.unseen_deviation[0] < most
    assert found.prior.alpha_deviation == pytest.approx(found.unseen_deviation[0])


def test_only_the_model_far_ahead_is_less_shrunk() -> None:
    rng = np.random.default_rng(3)
    pool = FAR[2]
    own = learned_prior(pool.counts(pool.draw(rng), rng), [f"m{number}" for number in range(8)], Prior()).own_deviations

    assert own["m0"] > 2.5
    assert max(own[f"m{number}"] for number in range(1, 8)) < 1.8


def test_the_scale_depends_on_the_counts_alone() -> None:
    """Not on the posterior from which the search begins."""
    rng = np.random.default_rng(4)
    verdicts, names = WIDE.counts(WIDE.draw(rng), rng), [f"m{number}" for number in range(8)]
    other = WIDE.counts(WIDE.draw(rng), rng)

    cold = learned_prior(verdicts, names, Prior())
    warm = learned_prior(verdicts, names, Prior(), fit(other, names, [], Prior()))

    assert warm.own_deviations == pytest.approx(cold.own_deviations, rel=1e-4)


def test_a_child_keeps_its_deviation_from_its_parent() -> None:
    """And the common scale is that of the models without a parent."""
    rng = np.random.default_rng(5)
    verdicts = WIDE.counts(WIDE.draw(rng), rng)
    names = [f"m{number}" for number in range(8)]

    prior = learned_prior(verdicts, names, Prior(parents={"m1": "m0"}))

    assert "m1" not in prior.own_deviations
    assert (prior.child_alpha_deviation, prior.child_delta_deviation) == (0.5, 0.25)
    assert learned_prior(NOTHING, names, prior).alpha_deviation == pytest.approx(prior.alpha_deviation)


def test_groups_that_no_verdict_connects_do_not_widen_the_scale() -> None:
    rng = np.random.default_rng(6)
    pool = WidePool("", 8, 2000, normal(0.5, 8))
    one, other = (pool.counts(pool.draw(rng), rng) for _ in range(2))
    columns = ("skill", "first", "second", "wins_first", "wins_second", "ties")
    moved = replace(other, first=other.first + 8, second=other.second + 8)
    both = Counts(*(np.append(getattr(one, column), getattr(moved, column)) for column in columns))

    prior = learned_prior(both, [f"m{number:02d}" for number in range(16)], Prior())

    assert prior.alpha_deviation < 1.2
    assert prior.group_deviation == 1.4
