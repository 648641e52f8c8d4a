"""The prior's scale, learned from the pool: how far models spread, and which of them stand apart.

Under one assumed deviation, the gaps of a wide pool are shrunk too much and their intervals too narrow. So the common
deviation s of α is learned by MacKay's fixed point of the evidence (1992, Neural Computation 4, 415–447), and each
model's own deviation by the same step under a Student t prior as a scale mixture of Gaussians (Geweke 1993, Journal of
Applied Econometrics 8, S19–S40): a model far ahead of the others is hardly shrunk, and they are shrunk as before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from karma_scoring.fit.competency import Posterior, Prior, fit
from karma_scoring.fit.likelihood import Array, Counts

#: The assumed deviation counts as much as so many models whose competencies are well known.
_ASSUMED_MODELS = 4.0
#: Degrees of freedom of the t prior. Heavier tails than Cauchy's, so that a model that never lost is not held back.
_DEGREES = 0.5
_MAX_ROUNDS = 30
_ACCURACY = 0.01  # of the logarithms of the deviations


def fit_with_learned_scale(
    counts: Counts, models: Sequence[str], skills: Sequence[str], prior: Prior, start: Posterior | None = None
) -> Posterior:
    """`competency.fit` under a prior whose deviations of α are learned from the same counts.

    Args:
        counts, models, skills, start: as for `competency.fit`.
        prior: as there; its `alpha_deviation` is where a pool with few verdicts stays. Children keep theirs.
    """
    return fit(counts, models, skills, learned_prior(counts, models, prior, start), start)


def learned_prior(counts: Counts, models: Sequence[str], prior: Prior, start: Posterior | None = None) -> Prior:
    """The prior with the learned deviations: the common one, which unseen models have, and each model's own.

    With α_m the mode less its prior mean and γ_m = 1 − V_m / s_m² the share of model m's competency that the verdicts
    determine, the fixed point is s² = (κ s₀² + Σ α_m²) / (κ + Σ γ_m) and s_m² = (ν s² + α_m²) / (ν + γ_m). It begins at
    s₀ each time, so that it depends on the counts alone, and sees the verdicts of all skills as one.
    """
    known = set(models)
    roots = np.array([prior.parents.get(model) not in known for model in models], dtype=bool)
    names = [model for model, root in zip(models, roots, strict=True) if root]
    mean = np.array([prior.mean.get(model, 0.0) for model in names])
    pooled = replace(counts, skill=np.full_like(counts.skill, -1), weight=None)
    common, own = prior.alpha_deviation, np.full(len(names), prior.alpha_deviation)
    for _ in range(_MAX_ROUNDS):
        # Groups share one mean here: their spread is between models, not between groups.
        tried = replace(prior, alpha_deviation=common, own_deviations=_by_name(names, own), group_deviation=0.0)
        start = fit(pooled, models, (), tried, start)
        moved = start.alpha[:-1][roots] - mean
        determined = np.clip(1.0 - start.alpha_variance[:-1][roots] / own**2, 0.0, 1.0)
        before = np.append(own, common)
        total = _ASSUMED_MODELS * prior.alpha_deviation**2 + float(moved @ moved)
        common = float(np.sqrt(total / (_ASSUMED_MODELS + determined.sum())))
        own = np.sqrt((_DEGREES * common**2 + moved**2) / (_DEGREES + determined))
        if np.abs(np.log(np.append(own, common) / before)).max() < _ACCURACY:
            break
    return replace(
        prior,
        alpha_deviation=common,
        own_deviations=_by_name(names, own),
        group_deviation=max(common, prior.group_deviation),
    )


def _by_name(names: Sequence[str], deviations: Array) -> dict[str, float]:
    return dict(zip(names, deviations.tolist(), strict=True))
