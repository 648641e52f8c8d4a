"""Pair residuals: verdicts that contradict one competency per model are found, others are not suspected."""

from __future__ import annotations

import math

import numpy as np
import pytest

from karma.ranking.misfit import PairFit
from karma.ranking.snapshot_archive import from_bytes, to_bytes
from karma_scoring.fit.changes.drift import MARK
from karma_scoring.fit.competency import Counts, Prior, fit
from karma_scoring.fit.kinship import snapshot
from karma_scoring.fit.pair_residuals import pair_fit
from tests.benchmarks.intransitive import circles, learned, true_to_the_model


def test_models_that_beat_each_other_in_a_circle_are_a_misfit() -> None:
    """Without the test of pairs, P = .5 and kinship 1.00 were claimed for outcomes of 90 %."""
    for found in circles(verdicts=150, pools=10, seed=0):
        pair = found.misfit("m000", "m001")

        assert pair is not None
        assert pair.observed > 0.75
        assert pair.expected == pytest.approx(0.5, abs=0.25)
        assert pair.z > 4.0
        assert found.between("m000", "m001", None).kinship is None
        assert found.between("m000", "m001", None).gap_deviation > 1.0
        assert 0.2 < found.between("m000", "m001", None).information < 0.7
        assert found.pair_fit.p_value is not None
        assert found.pair_fit.p_value < 1e-6


def test_pools_that_follow_the_model_have_no_misfit() -> None:
    """Few and many verdicts, one skill and several, near and far models."""
    assert true_to_the_model(models=3, skills=1, verdicts=300, deviation=1.0, pools=100, seed=3) == 0
    assert true_to_the_model(models=8, skills=3, verdicts=4000, deviation=1.0, pools=15, seed=3) == 0
    assert true_to_the_model(models=8, skills=1, verdicts=4000, deviation=3.0, pools=15, seed=3) == 0


def test_the_goodness_of_fit_is_a_uniform_p_value_where_the_model_is_true() -> None:
    """One skill; with several, the test errs on the safe side."""
    p_values = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        theta = rng.normal(0, 1.0, 8)
        p_values.append(learned((theta[:, None] - theta[None])[None], 3000, rng).pair_fit.p_value)

    assert 0.4 < np.mean(np.array(p_values, dtype=np.float64)) < 0.65


def test_two_models_alone_cannot_be_a_misfit() -> None:
    """The fit follows their only pair."""
    counts = Counts(*(np.array([value]) for value in (-1, 0, 1)), *(np.array([value]) for value in (300.0, 20.0, 9.0)))

    found = pair_fit(counts, fit(counts, ["a", "b"], [], Prior()))

    assert (found.misfit, found.p_value) == ((), None)


def test_a_former_model_is_no_part_of_a_misfit() -> None:
    """A circle of which one model is a former one says nothing of the present models."""
    index = [np.array(values) for values in ([-1, -1, -1], [0, 1, 2], [1, 2, 0])]
    counts = Counts(*index, np.full(3, 90.0), np.full(3, 10.0), np.zeros(3))

    for names, number in ((["a", "b", "c"], 3), (["a", "b", f"b{MARK}7"], 1)):
        assert len(pair_fit(counts, fit(counts, names, [], Prior())).misfit) == number


def test_a_misfit_survives_the_bytes_and_reads_alike_from_both_sides() -> None:
    """Only its own pair's kinship is taken back."""
    index = [np.array(values) for values in ([-1] * 4, [0, 1, 2, 0], [1, 2, 0, 3])]
    counts = Counts(*index, np.array([90.0, 90.0, 90.0, 50.0]), np.array([10.0, 10.0, 10.0, 50.0]), np.zeros(4))
    posterior = fit(counts, list("abcd"), [], Prior())
    found = snapshot(posterior, 1, pair_fit=pair_fit(counts, posterior))

    read = from_bytes(to_bytes(found))

    one, other = read.misfit("a", "b"), read.misfit("b", "a")
    assert one is not None
    assert other is not None
    assert one == found.misfit("a", "b")
    assert (other.observed, other.z) == (pytest.approx(1 - one.observed), -one.z)
    assert read.misfit("a", "d") is None
    assert math.isnan(read.kinship[0, 1, 0])
    assert read.between("a", "d", None).kinship == pytest.approx(
        snapshot(posterior, 1).between("a", "d", None).kinship, abs=1e-6
    )


def test_a_pool_without_models_has_no_pairs() -> None:
    none = np.zeros(0, dtype=np.int64)
    counts = Counts(none, none, none, np.zeros(0), np.zeros(0), np.zeros(0))

    assert pair_fit(counts, fit(counts, [], [], Prior())) == PairFit()
