"""Detects that the error of predicted labels changed, so that the audit reports the present one.

A cumulative test (Page 1954, Biometrika 41, 100–115) with unknown error before and after: the generalized likelihood
ratio over all times of a change (Siegmund & Venkatraman 1995, Annals of Statistics 23, 255–271). Audited pairs of
unequal weight, or of one prompt, carry less information; the ratio is divided by their design effect, as for a
quasi-likelihood (McCullagh & Nelder 1989, Generalized Linear Models, section 9.3).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from karma.ranking.label_error import Audited

Array = NDArray[np.float64]

#: Log likelihood ratio from which on the error counts as changed; by chance it comes about once in e^15 pairs.
CERTAIN = 15.0


def since_change(audited: Sequence[Audited]) -> Sequence[Audited]:
    """The audited pairs since the last change of the label error; all of them if it did not change.

    Args:
        audited: oldest first; pairs judged for certain are no audits and are left out.
    """
    kept = [pair for pair in audited if pair.probability < 1.0]
    while len(kept) > 1:
        wrong = np.array([pair.wrong for pair in kept], dtype=np.float64)
        weight = np.array([(1.0 - pair.probability) / pair.probability for pair in kept])
        change, ratio = _likeliest_change(wrong, weight)
        _, prompt = np.unique([pair.prompt for pair in kept], return_inverse=True)
        if ratio < CERTAIN * _design_effect(wrong, weight, prompt, change):
            break
        kept = kept[change:]
    return kept


def _likeliest_change(wrong: Array, weight: Array) -> tuple[int, float]:
    """The index of the first pair after the likeliest change, and the log likelihood ratio at equal weights."""
    weight = weight / weight.mean()
    number, errors = np.cumsum(weight), np.cumsum(weight * wrong)
    share = errors[-1] / number[-1]
    rest, errors_after = number[-1] - number[:-1], errors[-1] - errors[:-1]
    ratio = _divergence(number[:-1], errors[:-1], share) + _divergence(rest, errors_after, share)
    latest = int(np.argmax(ratio))
    return latest + 1, float(ratio[latest])


def _divergence(number: Array, errors: Array, share: float) -> Array:
    """Log likelihood ratio of the observed share of errors against `share`, for Bernoulli trials."""
    own = np.clip(errors / number, 1e-12, 1.0 - 1e-12)
    share = min(max(share, 1e-12), 1.0 - 1e-12)
    divergence: Array = number * (own * np.log(own / share) + (1.0 - own) * np.log((1.0 - own) / (1.0 - share)))
    return divergence


def _design_effect(wrong: Array, weight: Array, prompt: NDArray[np.intp], change: int) -> float:
    """Variance of the weighted share over that of as many independent pairs of equal weight, at least 1."""
    after = np.arange(len(wrong)) >= change
    share = np.where(after, *(float(np.average(wrong[side], weights=weight[side])) for side in (after, ~after)))
    residual = np.bincount(prompt, weights=weight * (wrong - share))
    independent = float(weight.mean() ** 2 * np.sum(share * (1.0 - share)))
    kish = float(len(weight) * np.sum(weight**2) / np.sum(weight) ** 2)
    return max(1.0, kish, float(residual @ residual) / independent if independent > 0.0 else 1.0)
