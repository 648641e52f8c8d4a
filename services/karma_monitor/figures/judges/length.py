"""Length bias of a judge, where something tells it from quality.

Longer responses may win more than competency says because a judge prefers length, or because better responses are
longer: the two are confounded (Dubois et al. 2024, arXiv 2404.04475, control for length within a model of the judge).
Two kinds of pairs tell them apart. Responses that the *reference* calls equal, both right or both wrong: a judge
without bias prefers the longer in half of them. And pairs on which *other judges* take a side: quality is the same for
both judges, and what remains is a difference of their preferences.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from karma.store.pair_quality import JudgeQuality

Array = NDArray[np.float64]

#: Largest standard error with which a bias is said, as a share.
MOST_ERROR = 0.04
#: Least square of the first stage's t statistic: below, an instrument is weak (Staiger & Stock 1997, Econometrica 65,
#: 557–586).
_LEAST_F = 10.0
#: Fewest prompts behind a standard error that is clustered by prompt.
_LEAST_PROMPTS = 30

#: A bias that nothing tells from quality.
CONFOUNDED: dict[str, Any] = {"bias": None, "error": None, "pairs": 0, "evidence": "confounded"}


def length_bias(sums: JudgeQuality) -> dict[str, Any]:
    """The share of verdicts that a judge gives to the longer response for its length.

    `bias` with its standard `error`, over `pairs`; `evidence` is `reference`, `judges`, or `confounded` (bias None).
    """
    for evidence, found in (("reference", _by_reference(sums)), ("judges", _beside_others(sums))):
        if found is not None and found[1] <= MOST_ERROR:
            return {"bias": found[0], "error": found[1], "pairs": found[2], "evidence": evidence}
    return CONFOUNDED


def _by_reference(sums: JudgeQuality) -> tuple[float, float, int] | None:
    """The preference for the longer response among pairs that the reference calls equal.

    side = 2 b longer + φ favorite + noise. A judge may see more than the reference does. Then competency's favorite
    still wins among equal pairs, φ > 0, and what remains of longer wins by quality is taken to be in proportion to what
    remains of the favorite's wins (Altonji, Elder & Taber 2005, Journal of Political Economy 113, 151–184). The upper
    end of that share enters the standard error as two deviations.
    """
    if not sums.by_reference:
        return None
    prompts, side, reference, longer, favorite = np.array(sums.by_reference, dtype=np.float64).T
    columns, equal = np.column_stack([longer, favorite]), reference == 0.0
    whole = _instrumented(side, columns, columns, prompts)
    part = _instrumented(side[equal], columns[equal], columns[equal], prompts[equal])
    if whole is None or part is None or whole[0][1] ** 2 < _LEAST_F * whole[1][1] ** 2:
        return None
    left = (abs(part[0][1]) + 2.0 * part[1][1]) / abs(whole[0][1])
    error = float(np.hypot(part[1][0], left * whole[0][0] / 2.0)) / 2.0
    return float(part[0][0]) / 2.0, error, int(equal.sum())


def _beside_others(sums: JudgeQuality) -> tuple[float, float, int] | None:
    """The preference for the longer response beyond that of the other judges.

    side = κ others + 2 b longer + noise. κ is how sharp the judge is beside the others. Their sides are noisy, so κ is
    found through an instrument, the favorite of competency (errors in variables; Wald 1940, Annals of Mathematical
    Statistics 11, 284–300).
    """
    if not sums.beside_others:
        return None
    prompts, side, others, longer, favorite = np.array(sums.beside_others, dtype=np.float64).T
    regressors, instruments = np.column_stack([others, longer]), np.column_stack([favorite, longer])
    first = _instrumented(others, instruments, instruments, prompts)
    if first is None or first[0][0] ** 2 < _LEAST_F * first[1][0] ** 2:
        return None
    found = _instrumented(side, regressors, instruments, prompts)
    return None if found is None else (float(found[0][1]) / 2.0, float(found[1][1]) / 2.0, len(side))


def _instrumented(outcome: Array, regressors: Array, instruments: Array, prompts: Array) -> tuple[Array, Array] | None:
    """Coefficients by instrumental variables, as many as regressors, and standard errors clustered by prompt.

    β = (ZᵀX)⁻¹ Zᵀy (Wooldridge 2010, Econometric Analysis of Cross Section and Panel Data, section 5.1). None where
    the equations have no solution, or there are too few prompts.
    """
    _, cluster = np.unique(prompts, return_inverse=True)
    crossed = instruments.T @ regressors
    if not len(cluster) or cluster.max() + 1 < _LEAST_PROMPTS or np.linalg.matrix_rank(crossed) < len(crossed):
        return None
    inverse = np.linalg.inv(crossed)
    coefficients = inverse @ (instruments.T @ outcome)
    scores = instruments * (outcome - regressors @ coefficients)[:, None]
    summed = np.column_stack([np.bincount(cluster, weights=column) for column in scores.T])
    covariance = inverse @ (summed.T @ summed) @ inverse.T
    return coefficients, np.sqrt(np.diag(covariance))
