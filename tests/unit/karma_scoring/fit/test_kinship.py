"""Kinship, information and the snapshot made of a posterior."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr

from karma.ranking.information import outcome
from karma.ranking.snapshot import COLD_INFORMATION, Snapshot
from karma.ranking.snapshot_archive import from_bytes, to_bytes
from karma_scoring.fit.competency import Counts, Posterior, Prior, fit
from karma_scoring.fit.kinship import cosine_kinship, posterior_kinship, snapshot
from karma_scoring.fit.prior_scale import fit_with_learned_scale


def posterior(wins: float = 30.0, losses: float = 20.0, prior: Prior | None = None) -> Posterior:
    """Two models compared in one skill, a third one never."""
    indices = [np.array([value]) for value in (0, 0, 1)]
    numbers = [np.array([value]) for value in (wins, losses, 5.0)]
    return fit(Counts(*indices, *numbers), ["a", "b", "unseen"], ["x"], prior or Prior())


def test_kinship_is_the_posterior_mass_within_epsilon() -> None:
    """Against scipy; and a gap known exactly is within or not."""
    gap, deviation = np.array([0.0, 0.3, -1.2]), np.array([0.2, 0.5, 0.7])
    expected = ndtr((0.4 - gap) / deviation) - ndtr((-0.4 - gap) / deviation)

    np.testing.assert_allclose(posterior_kinship(gap, deviation), expected, atol=2e-7)
    np.testing.assert_allclose(posterior_kinship(np.array([0.39, 0.41]), np.zeros(2)), [1.0, 0.0])


def test_cosine_kinship_compares_directions() -> None:
    """Equal 1, opposite 0, none nan."""
    found = cosine_kinship(np.array([[1.0, 2.0], [2.0, 4.0], [-1.0, -2.0], [0.0, 0.0]]))

    np.testing.assert_allclose(found[0], [1.0, 1.0, 0.0, np.nan])


def test_the_cold_start_constant_is_the_information_under_the_default_prior() -> None:
    """So that planning before the first refit agrees with planning after it."""
    cold = Snapshot.empty()
    found, _wins, _decisive = outcome(np.zeros(1), cold.gap_deviation[0, -1:, -1], cold.tie)

    assert found[0] == pytest.approx(COLD_INFORMATION, abs=1e-3)
    assert np.log(cold.tie) == pytest.approx(Prior().log_tie_mean)
    assert np.hypot(Prior().alpha_deviation, Prior().delta_deviation) == pytest.approx(1.5, abs=0.02)


def known_posterior() -> Posterior:
    """Four models that met often in two skills: a and b are good at x, c and d at y; one more never met anybody."""
    rows = [(s, i, j, 1 if s else 3, 3 if s else 1) for s in (0, 1) for i in (0, 1) for j in (2, 3)]
    rows += [(s, i, i + 1, 2, 2) for s in (0, 1) for i in (0, 2)]
    table = np.array(rows)
    numbers = 40.0 * table[:, 3:].T
    return fit(Counts(*table[:, :3].T, *numbers, np.zeros(len(rows))), [*"abcd", "unseen"], ["x", "y"], Prior())


def test_cosine_kinship_in_a_snapshot_is_of_competencies_over_skills() -> None:
    """Those good at the same are kin, those good at the opposite are not; of whom nothing is known, nothing is said."""
    found = snapshot(known_posterior(), version=1).with_kinship("cosine")

    assert found.between("a", "b", "x").kinship == pytest.approx(1.0, abs=0.01)
    assert found.between("a", "c", "y").kinship == pytest.approx(0.0, abs=0.01)
    assert [found.between("a", other, None).kinship for other in ("unseen", "unseen")] == [None, None]
    assert snapshot(posterior(), version=1).with_kinship("cosine").between("a", "b", "x").kinship is None  # one skill


def test_cosine_kinship_is_of_benchmarks_where_the_pool_gives_them() -> None:
    """Known before any verdict; a benchmark that some lack is left out, and a model without any is unknown."""
    scores = {
        "a": {"ifeval": 0.9, "math": 0.2, "extra": 1.0},
        "b": {"ifeval": 0.8, "math": 0.1},
        "c": {"ifeval": 0.1, "math": 0.9, "extra": 0.0},
    }
    found = snapshot(known_posterior(), version=1, benchmarks=scores).with_kinship("cosine")

    assert (found.between("a", "b", "x").kinship or 0.0) > 0.9
    assert found.between("a", "c", "x").kinship == 0.0
    assert found.between("a", "d", "x").kinship is None


def test_without_verdicts_all_pairs_are_worth_the_same_and_nobody_is_kin() -> None:
    """The snapshot of a posterior without counts is a cold start."""
    nothing = np.array([], dtype=np.int64)
    empty = fit(Counts(nothing, nothing, nothing, *[np.array([])] * 3), ["a", "b"], ["x"], Prior())

    found = snapshot(empty, version=1)

    pairs = [("a", "b"), ("a", "new"), ("new", "newer")]
    bits = [found.between(x, y, "x").information for x, y in pairs]
    assert bits == pytest.approx([bits[0]] * 3)
    assert [found.between(x, y, "x").kinship for x, y in pairs] == [None] * 3


def test_the_unknown_is_shown_as_unknown() -> None:
    """Two models with 55 shared verdicts have a kinship; a model without verdicts has none with anybody."""
    found = snapshot(posterior(), version=1)

    assert found.between("a", "b", "x").kinship is not None
    assert found.between("a", "b", "x").comparisons == 55.0
    assert found.between("a", "unseen", "x").kinship is None


def test_a_child_of_a_known_parent_is_known_from_the_start() -> None:
    """Its kinship with its parent is what the prior on their difference says, plus nothing else."""
    found = snapshot(posterior(prior=Prior(parents={"unseen": "a"})), version=1)

    deviation = np.hypot(Prior().child_alpha_deviation, Prior().child_delta_deviation)
    assert found.between("a", "unseen", "x").kinship == pytest.approx(2 * ndtr(0.4 / deviation) - 1)


def test_the_snapshots_numbers_are_those_of_its_posterior() -> None:
    """Gaps, deviations, win probabilities, the tie parameter."""
    learned = posterior()
    found = snapshot(learned, version=4)
    pair = found.between("a", "b", "x")
    variance = learned.covariance[1, 0, 0] + learned.covariance[1, 1, 1] - 2 * learned.covariance[1, 0, 1]

    assert (found.version, found.models, found.skills) == (4, ("a", "b", "unseen"), ("x",))
    assert pair.gap == pytest.approx(learned.mean[1, 0] - learned.mean[1, 1])
    assert pair.gap_deviation == pytest.approx(np.sqrt(variance))
    assert pair.win_probability + found.between("b", "a", "x").win_probability == pytest.approx(1.0)
    assert found.tie == pytest.approx(np.exp(learned.log_tie[0]))


def test_no_number_of_verdicts_makes_an_outcome_certain() -> None:
    """Also in single precision, in which snapshots are stored, and where hardly any verdict takes a side."""
    steps, number = np.arange(10), np.full(10, 1e5)
    won = Counts(np.full(10, -1), steps, steps + 1, number, np.zeros(10), np.zeros(10))
    tied = replace(won, wins_first=np.ones(10), ties=1e9 * number)
    models = [f"m{step:02d}" for step in range(11)]

    for counts in (won, tied):
        stored = from_bytes(to_bytes(snapshot(fit_with_learned_scale(counts, models, [], Prior()), version=1)))
        win, bits = (table[0][~np.eye(12, dtype=bool)] for table in (stored.win, stored.information))

        assert (win.min(), win.max()) == (pytest.approx(1 - win.max(), rel=0.1), pytest.approx(1 - win.min()))
        assert 0.0 < win.min() < win.max() < 1.0
        assert bits.min() > 0.0
