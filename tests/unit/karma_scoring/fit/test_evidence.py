"""Evidence: what counts are worth, by their age and by how the gate chose them."""

import itertools

import numpy as np
import pytest
from scipy.special import expit

from karma.errors import KarmaError
from karma.store.records import Count
from karma_scoring.fit.competency import Counts, Prior, fit
from karma_scoring.fit.evidence import evidence
from karma_scoring.fit.time_buckets import bucket_at
from tests.benchmarks.hard_pools import overall_coverage

MODELS, SKILLS = tuple("abcde"), ("x", "y")
NOW = 1.8e9
HOUR = bucket_at(3600.0)


def test_verdicts_fade_by_their_half_life() -> None:
    """Fresh ones count 1, those of 12 and 24 hours ago a half and a quarter."""
    now = bucket_at(NOW) - 1
    rows = [Count("judge", "x", "a", "b", now - hours * HOUR, 4.0, 0.0, 0.0, 4.0) for hours in (0, 12, 24)]

    seen = evidence(rows, ["a", "b"], NOW, half_life_h=12.0)

    np.testing.assert_allclose(seen.counts.wins_first, [4.0, 2.0, 1.0])


def test_verdicts_of_weight_one_count_one_each() -> None:
    """In cells large and small, from judges and probes."""
    rows = [
        Count("judge", "x", "a", "b", bucket_at(NOW), 3.0, 1.0, 0.0, 4.0),
        Count("probe", "x", "a", "b", bucket_at(NOW), 500.0, 100.0, 25.0, 625.0),
        Count("judge", "", "a", "c", bucket_at(NOW), 1.0, 0.0, 0.0, 1.0),
    ]

    seen = evidence(rows, ["a", "b", "c"], NOW, 720.0)

    np.testing.assert_allclose(seen.counts.wins_first, [3.0, 500.0, 1.0])
    assert seen.counts.skill.tolist() == [0, 0, -1]


def test_a_cell_of_unequal_weights_counts_its_effective_sample_size() -> None:
    """A hundred of weight 1 and fifty of weight 20, in two buckets: (Σw)² / Σw² = 60 of equal weight."""
    rows = [
        Count("judge", "x", "a", "b", bucket_at(NOW), 60.0, 40.0, 0.0, 100.0),
        Count("judge", "x", "a", "b", bucket_at(NOW) - 1, 900.0, 100.0, 0.0, 20_000.0),
    ]

    counts = evidence(rows, ["a", "b"], NOW, 720.0).counts

    total = float((counts.wins_first + counts.wins_second).sum())
    assert total == pytest.approx(1100.0**2 / 20_100.0, rel=1e-3)
    assert counts.wins_first.sum() / total == pytest.approx(960.0 / 1100.0)


@pytest.mark.parametrize(("small", "pairs"), [(0.2, 600), (0.05, 3000)])
def test_under_a_gate_ninety_percent_intervals_hold_the_truth_nine_times_in_ten(small: float, pairs: int) -> None:
    """Where outcomes depend on more than the models, and only pairs that look balanced are judged for certain.

    The truth is what a fit to all pairs would come to. Coverage of the models' gaps, overall and in each skill: 85 to
    95 %; without weights, or with weights taken for numbers of verdicts, it would be below 70 %.
    """
    rng = np.random.default_rng(11)
    nodes, mass = np.polynomial.hermite_e.hermegauss(41)
    cells = np.array([(s, i, j) for s in range(2) for i, j in itertools.combinations(range(5), 2)])
    held = []
    for _ in range(40):
        theta = rng.normal(0, 1.4, 5) + rng.normal(0, 0.5, (2, 5))
        gap = theta[cells[:, 0], cells[:, 1]] - theta[cells[:, 0], cells[:, 2]]
        share = expit(gap[:, None] + 1.5 * nodes) @ (mass / mass.sum())
        everything = Counts(*cells.T, 1e5 * share, 1e5 * (1 - share), 0.0 * share)
        truth = fit(everything, MODELS, SKILLS, Prior())

        drawn = rng.integers(len(cells), size=pairs)
        win = expit(gap[drawn] + 1.5 * rng.normal(size=pairs))
        probability = np.where(np.abs(win - 0.5) < 0.2, 1.0, small)
        judged, won = rng.random(pairs) < probability, rng.random(pairs) < win
        rows = []
        for place in np.flatnonzero(judged):
            s, i, j = cells[drawn[place]]
            weight = 1 / probability[place]
            numbers = (weight * won[place], weight * (1 - won[place]), 0.0, weight * weight)
            rows.append(Count("judge", SKILLS[s], MODELS[i], MODELS[j], 0, *numbers))
        seen = evidence(rows, MODELS, 0.0, 720.0)
        found = fit(seen.counts, seen.models, seen.skills, Prior())

        for i, j in itertools.combinations(range(5), 2):
            contrast = np.eye(6)[i] - np.eye(6)[j]
            deviation = np.sqrt(np.einsum("a,rab,b->r", contrast, found.covariance, contrast))
            held.append(np.abs((found.mean - truth.mean) @ contrast) < 1.645 * deviation)

    covered = float(np.mean(held))

    assert 0.85 <= covered <= 0.95, covered


def test_overall_intervals_hold_where_calls_were_spent_on_one_skill() -> None:
    """By the numbers of verdicts, the audited skill would have a share of 3 instead of 50 %, and 25 % would hold."""
    covered, _error, _rms = overall_coverage(60)

    assert 0.85 <= covered <= 0.95, covered


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_counts_that_are_no_numbers_are_refused_by_name(bad: float) -> None:
    rows = [Count("judge", "x", "a", b, 7, 1.0, 0.0, 0.0, 1.0) for b in "bc"]

    with pytest.raises(KarmaError, match=r"counts of a and c in bucket 7, skill 'x', are no numbers: .*ties (nan|inf)"):
        evidence([*rows[:1], rows[1]._replace(ties=bad)], ["a"], NOW, 720.0)


def test_no_counts_are_no_evidence() -> None:
    """The pool's models have their columns all the same."""
    seen = evidence([], ["b", "a"], NOW, 720.0)

    assert (seen.models, seen.skills, len(seen.bucket)) == (("a", "b"), (), 0)
