"""Scores of pairs by the difference in quality of their responses."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, pstdev

from karma.policies.candidates import Candidates

#: Responses with a known quality from which on the rejected one is not the worst. Of fewer, the mean and the deviation
#: are too uncertain.
FEWEST_FOR_DEVIATIONS = 8
#: Standard deviations below the mean at which the rejected response is looked for (arXiv 2502.16825).
_DEVIATIONS_BELOW = 2.0


def gap_scores(candidates: Candidates) -> tuple[Sequence[int], list[tuple[float, ...]], bool]:
    """Which pairs may be chosen, their scores (the greatest are to be chosen), and whether these go by μ − 2σ.

    A pair scores by its difference in quality. Where eight or more responses have a quality of their own, the best
    scores highest with the response nearest to μ − 2σ of these qualities: the minimum of many samples is an outlier,
    and DPO on it does worse the more samples there are (Xiao et al. 2025, arXiv 2502.16825). Responses without a
    quality are then in no pair.
    """
    own = [candidate.quality for candidate in candidates.candidates]
    known = [value for value in own if value is not None]
    among = [pair for pair, (x, y) in enumerate(candidates.pairs) if own[x] is not None and own[y] is not None]
    if len(known) >= FEWEST_FOR_DEVIATIONS and among:
        of = [value if value is not None else 0.0 for value in own]
        return among, _by_deviations([(of[x], of[y]) for x, y in map(candidates.pairs.__getitem__, among)], known), True
    quality = candidates.qualities()
    return range(len(candidates.pairs)), [(abs(quality[x] - quality[y]),) for x, y in candidates.pairs], False


def _by_deviations(pairs: Sequence[tuple[float, float]], known: Sequence[float]) -> list[tuple[float, ...]]:
    """The scores of pairs of qualities; the greatest is that of the best and the one nearest to μ − 2σ.

    A pair scores by how far its better response is from the best, and its worse one from μ − 2σ. While the worse one
    is above μ − 2σ, that is the order of the differences in quality. Pairs whose worse response is below the mean come
    first: μ − 2σ of many good responses and few bad ones is nearer to the good ones.

    Args:
        pairs: the qualities of both responses of each pair.
        known: the qualities of all responses, also of those that no pair contains.
    """
    mean, best = fmean(known), max(known)
    low = mean - _DEVIATIONS_BELOW * pstdev(known)
    scores: list[tuple[float, ...]] = []
    for pair in pairs:
        worse, better = sorted(pair)
        scores.append((float(worse < mean), float(worse < better), -(best - better) - abs(worse - low)))
    return scores
