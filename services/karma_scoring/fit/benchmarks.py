"""Benchmark scores from the pool file as prior means of the competencies.

The prior mean is slope × mean z-score. The slope is fitted along with the competencies, so benchmarks count only as far
as the verdicts agree with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from karma_scoring.fit.competency import Posterior, Prior
from karma_scoring.fit.likelihood import Array, Counts
from karma_scoring.fit.prior_scale import fit_with_learned_scale

#: Prior of the slope: logits of competency per standard deviation of benchmark scores.
SLOPE_MEAN = 0.5
SLOPE_DEVIATION = 0.5

_MAX_FITS = 8
_ACCURACY = 1e-3  # of the slope: a thousandth of a logit for a model one standard deviation from the mean


def z_scores(benchmarks: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Standard scores over the models that have a benchmark, model → benchmark → z.

    A benchmark with fewer than two models, or with equal scores, carries no information and is left out.

    Args:
        benchmarks: model → benchmark → score; higher is better.
    """
    scores_of: dict[str, dict[str, float]] = {model: {} for model in benchmarks}
    for name in sorted({name for scores in benchmarks.values() for name in scores}):
        having = [model for model in sorted(benchmarks) if name in benchmarks[model]]
        scores = np.array([benchmarks[model][name] for model in having])
        deviation = scores.std()
        if len(having) > 1 and deviation > 1e-12 * np.abs(scores).max():
            for model, score in zip(having, scores, strict=True):
                scores_of[model][name] = float((score - scores.mean()) / deviation)
    return {model: scores for model, scores in scores_of.items() if scores}


def mean_z_scores(benchmarks: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The mean standard score of each model that has any."""
    return {model: float(np.mean(list(scores.values()))) for model, scores in z_scores(benchmarks).items()}


def fit_with_benchmarks(
    counts: Counts,
    models: Sequence[str],
    skills: Sequence[str],
    prior: Prior,
    scores: Mapping[str, float],
    start: Posterior | None = None,
) -> tuple[Posterior, float | None]:
    """The posterior under prior means of slope × score at the most probable slope, and that slope.

    The log posterior, maximized over the competencies, is a concave function of the slope. By the envelope theorem its
    derivative is that of the priors alone, so the secant method needs only a few fits. A child's prior mean is its
    parent; its own score is not used.

    Args:
        counts, models, skills, start: as for `competency.fit`.
        prior: as there; its means are replaced.
        scores: mean z-score by model; a model without one has the prior mean 0.
    """
    used = {model: scores[model] for model in models if model in scores and prior.parents.get(model) not in set(models)}
    if not used:
        return fit_with_learned_scale(counts, models, skills, prior, start), None
    columns = [models.index(model) for model in used]
    values: Array = np.array(list(used.values()))

    def at(slope: float, start: Posterior | None) -> tuple[Posterior, float]:
        means = {model: slope * value for model, value in used.items()}
        posterior = fit_with_learned_scale(counts, models, skills, replace(prior, mean=means), start)
        precision = np.array([posterior.prior.own_deviations[model] for model in used]) ** -2.0
        pull = (values * precision) @ (posterior.alpha[columns] - slope * values)
        return posterior, float(pull) - (slope - SLOPE_MEAN) / SLOPE_DEVIATION**2

    steepest = float(values @ values) / prior.alpha_deviation**2 + SLOPE_DEVIATION**-2.0  # descent of the derivative
    slope = SLOPE_MEAN
    posterior, derivative = at(slope, start)
    step = derivative / steepest
    for _ in range(_MAX_FITS):
        if abs(step) < _ACCURACY:
            break
        posterior, further = at(slope + step, posterior)
        descent = (derivative - further) / step
        slope, derivative = slope + step, further
        step = derivative / descent if descent > 0.0 else derivative / steepest
    return posterior, slope
