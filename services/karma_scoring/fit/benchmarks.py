"""Benchmarks given with the pool: what is believed of a model before any verdict, as far as benchmarks tell at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from karma_scoring.fit.competency import Counts, Posterior, Prior, fit
from karma_scoring.fit.davidson import Array

#: Logits of competency per standard deviation of benchmark scores: what is believed of that slope beforehand.
SLOPE_MEAN = 0.5
SLOPE_DEVIATION = 0.5

_MAX_SEARCH = 8
_ACCURACY = 1e-3  # of the slope: a thousandth of a logit for a model one standard deviation from the mean


def z_scores(benchmarks: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Standard scores over the models that have a benchmark, model → benchmark → z.

    A benchmark that fewer than two models have, or in which all are equal, tells nothing and is left out.

    Args:
        benchmarks: model → benchmark → score; higher is better.
    """
    found: dict[str, dict[str, float]] = {model: {} for model in benchmarks}
    for name in sorted({name for scores in benchmarks.values() for name in scores}):
        having = [model for model in sorted(benchmarks) if name in benchmarks[model]]
        scores = np.array([benchmarks[model][name] for model in having])
        deviation = scores.std()
        if len(having) > 1 and deviation > 1e-12 * np.abs(scores).max():
            for model, score in zip(having, scores, strict=True):
                found[model][name] = float((score - scores.mean()) / deviation)
    return {model: scores for model, scores in found.items() if scores}


def standings(benchmarks: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The mean standard score of each model that has one."""
    return {model: float(np.mean(list(scores.values()))) for model, scores in z_scores(benchmarks).items()}


def fit_with_standings(
    counts: Counts,
    models: Sequence[str],
    skills: Sequence[str],
    prior: Prior,
    standing: Mapping[str, float],
    start: Posterior | None = None,
) -> tuple[Posterior, float | None]:
    """The posterior under prior means of slope × standing, at the most probable slope, and that slope.

    The log posterior at its maximum over the competencies is a concave function of the slope, and its derivative is
    that of the priors alone (the envelope theorem), so the secant method finds the maximum in a few fits. A child's
    prior is its parent, and its standing is not used.

    Args:
        counts, models, skills, start: as for `competency.fit`.
        prior: as there; its means are replaced.
        standing: by model; a model without one has the prior mean 0.
    """
    known = {
        model: standing[model] for model in models if model in standing and prior.parents.get(model) not in set(models)
    }
    if not known:
        return fit(counts, models, skills, prior, start), None
    columns = [models.index(model) for model in known]
    values: Array = np.array(list(known.values()))

    def at(slope: float, start: Posterior | None) -> tuple[Posterior, float]:
        means = {model: slope * value for model, value in known.items()}
        posterior = fit(counts, models, skills, replace(prior, mean=means), start)
        pull = values @ (posterior.alpha[columns] - slope * values) / prior.alpha_deviation**2
        return posterior, float(pull) - (slope - SLOPE_MEAN) / SLOPE_DEVIATION**2

    least = float(values @ values) / prior.alpha_deviation**2 + SLOPE_DEVIATION**-2.0  # the derivative's greatest fall
    slope = SLOPE_MEAN
    posterior, derivative = at(slope, start)
    step = derivative / least
    for _ in range(_MAX_SEARCH):
        if abs(step) < _ACCURACY:
            break
        posterior, further = at(slope + step, posterior)
        fall = (derivative - further) / step
        slope, derivative = slope + step, further
        step = derivative / fall if fall > 0.0 else derivative / least
    return posterior, slope
