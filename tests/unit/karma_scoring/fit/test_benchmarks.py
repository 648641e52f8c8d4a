"""Benchmarks given with the pool: a prior, as strong as the verdicts say that benchmarks tell."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from karma_scoring.fit.benchmarks import SLOPE_MEAN, fit_with_benchmarks, mean_z_scores, z_scores
from karma_scoring.fit.competency import Counts, Prior, fit
from karma_scoring.fit.prior_scale import fit_with_learned_scale

MODELS = tuple("abcdefgh")


def verdicts(theta: NDArray[np.float64], number: int) -> Counts:
    """What `number` comparisons of every two models come to on average, without ties."""
    first, second = np.triu_indices(len(theta), 1)
    share = 1 / (1 + np.exp(theta[second] - theta[first]))
    return Counts(np.full(len(first), -1), first, second, number * share, number * (1 - share), 0.0 * share)


def test_scores_are_standard_scores_over_the_models_that_have_them() -> None:
    """What only one model has, or all have alike, is left out."""
    given = {"a": {"ifeval": 0.5, "one": 1.0, "same": 3.0}, "b": {"ifeval": 0.7, "same": 3.0}, "c": {}}

    assert z_scores(given) == {"a": {"ifeval": pytest.approx(-1.0)}, "b": {"ifeval": pytest.approx(1.0)}}
    assert mean_z_scores(given) == {"a": pytest.approx(-1.0), "b": pytest.approx(1.0)}


def test_before_any_verdict_a_model_stands_where_its_benchmarks_say() -> None:
    """At the slope that is believed beforehand, and as uncertain as ever."""
    scores = {"a": 1.5, "b": -1.5}

    found, slope = fit_with_benchmarks(verdicts(np.zeros(8), 0), MODELS, [], Prior(), scores)

    assert slope == pytest.approx(SLOPE_MEAN, abs=1e-3)
    np.testing.assert_allclose(found.mean[0, :3], [0.75, -0.75, 0.0], atol=0.01)
    plain = fit(verdicts(np.zeros(8), 0), MODELS, [], Prior())
    np.testing.assert_allclose(found.covariance, plain.covariance)


@pytest.mark.parametrize("true_slope", [1.2, 0.0, -0.6])
def test_the_slope_is_learned_from_models_with_verdicts(true_slope: float) -> None:
    """And carries over to the one without: benchmarks that tell nothing move it no more."""
    scores = dict(zip(MODELS, np.linspace(-1.5, 1.5, 8), strict=True))
    theta = true_slope * np.linspace(-1.5, 1.5, 8)
    rivals = verdicts(theta[:7], 200)

    found, slope = fit_with_benchmarks(rivals, MODELS, [], Prior(), scores)

    assert slope is not None
    assert abs(slope - true_slope) < 0.75 * abs(SLOPE_MEAN - true_slope)
    assert found.mean[0, 7] - found.mean[0, 0] == pytest.approx(slope * 1.5 - found.alpha[0], abs=1e-6)


def test_the_slope_is_the_most_probable_one() -> None:
    """No slope nearby has a greater posterior under the learned deviations, by the log density written out."""
    scores = dict(zip(MODELS, np.linspace(-1.5, 1.5, 8), strict=True))
    counts = verdicts(np.random.default_rng(2).normal(0, 1, 8), 5)

    def density(slope: float) -> float:
        means = np.array([slope * scores[model] for model in MODELS])
        found = fit(counts, MODELS, [], replace(best.prior, mean=dict(zip(MODELS, means, strict=True))))
        gap = found.alpha[counts.first] - found.alpha[counts.second]
        z = np.log(2 * np.cosh(gap / 2) + np.exp(found.log_tie[0]))
        likelihood = counts.wins_first @ (gap / 2 - z) + counts.wins_second @ (-gap / 2 - z)
        deviations = np.array([best.prior.own_deviations[model] for model in MODELS])
        prior = np.sum(((found.alpha[:8] - means) / deviations) ** 2) + ((found.log_tie[0] - np.log(0.5)) / 1.0) ** 2
        return float(likelihood - 0.5 * prior - 0.5 * ((slope - 0.5) / 0.5) ** 2)

    best, slope = fit_with_benchmarks(counts, MODELS, [], Prior(), scores)

    assert slope is not None
    assert density(slope) > max(density(slope - 0.02), density(slope + 0.02))


def test_without_benchmarks_nothing_is_learned_of_them() -> None:
    """The fit is the plain one; nor does a child's benchmark count, whose prior is its parent."""
    counts = verdicts(np.linspace(1, -1, 8), 3)

    for prior, scores in ((Prior(), {}), (Prior(parents={"b": "a"}), {"b": 2.0})):
        found, slope = fit_with_benchmarks(counts, MODELS, [], prior, scores)
        assert slope is None
        np.testing.assert_allclose(found.mean, fit_with_learned_scale(counts, MODELS, [], prior).mean)
