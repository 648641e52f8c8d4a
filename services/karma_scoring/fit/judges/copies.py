"""Copies: judges that agree with each other more than the truth explains.

Of judges that err independently, the mean product of two signs is the product of two numbers, one a judge: it follows
from their products with other judges, M_jk = M_jl M_km / M_lm (tetrads: Spearman 1904, American Journal of Psychology
15, 201–292; of binary raters: Parisi et al. 2014, PNAS 111, 1253–1258). Two copies break it. Without that, estimates by
agreement believe copies: they agree with each other, so they seem to be the good judges.
"""

from __future__ import annotations

import numpy as np

from karma_scoring.fit.judges.votes import Flags, Votes
from karma_scoring.fit.likelihood import Array

#: Fewest pairs on which two judges take a side before anything is said of the two.
LEAST_PAIRS = 30
#: Mean product of signs from which two judges count as one where others do not explain it, however few the pairs: they
#: agree on 19 of 20, so that the second adds nearly nothing even where both are right.
_SAME = 0.9
#: The same where there are no two others that could explain it: good judges that are no copies agree nearly as often.
_IDENTICAL = 0.95
#: Least excess of the mean product over what others explain.
_EXCESS = 0.2


def agreement(votes: Votes) -> tuple[Array, Array]:
    """Mean product of signs of each two judges, [J, J], and the number of pairs behind it; 0 without pairs.

    Signs count within the tie margin too: pairs on which two soft judges are both sure are the easy ones.
    """
    sign = np.sign(votes.logit)
    number = np.abs(sign).T @ np.abs(sign)
    return sign.T @ sign / np.maximum(number, 1.0), number


def same_judges(votes: Votes, anchors: Flags) -> Array:
    """Which judges are copies of each other, [J, J] of 0 and 1; the diagonal is 0.

    Judges are joined one by one, those with the largest excess first: before the copies of a judge are joined, they
    make the independent judges look as if these had something in common.

    Args:
        votes: of the judges.
        anchors: [J] booleans, judges that are copies of none.
    """
    product, number = agreement(votes)
    groups = [[judge] for judge in range(len(votes.judges)) if not anchors[judge]]
    while len(groups) > 1:
        mean = np.array([[_between(product, number, one, other) for other in groups] for one in groups])
        counted = np.array([[number[np.ix_(one, other)].max() for other in groups] for one in groups])
        excess = _excess(mean, counted)
        first, second = np.unravel_index(int(np.argmax(excess)), excess.shape)
        if excess[first, second] <= 0.0:
            break
        groups[first] = groups[first] + groups[second]
        del groups[second]
    same = np.zeros_like(product)
    for group in groups:
        same[np.ix_(group, group)] = 1.0
    np.fill_diagonal(same, 0.0)
    return same


def _between(product: Array, number: Array, one: list[int], other: list[int]) -> float:
    weight = number[np.ix_(one, other)]
    return float(np.sum(weight * product[np.ix_(one, other)]) / max(1.0, float(weight.sum())))


def _excess(mean: Array, number: Array) -> Array:
    """By how much two groups agree more than the others explain, above the diagonal; 0 where they may be independent.

    A group that is not joined yet may be a copy of one of the others too, so the least explanation counts: at the upper
    end of its interval. Two groups that agree nearly always are explained by others that do not agree so with them, as
    estimated; where there are no two others, only still closer agreement, within its standard error, makes them copies.
    """
    groups = len(mean)
    excess = np.zeros_like(mean)
    variance = (1.0 - mean**2) / np.maximum(number, 1.0)
    is_same = mean >= _SAME
    is_counted = number >= LEAST_PAIRS
    usable = is_counted & (mean > 3.0 * np.sqrt(variance))
    is_clear = is_counted & (mean > 2.0 * np.sqrt(variance))
    for j in range(groups):
        for k in range(j + 1, groups):
            if not usable[j, k]:
                continue
            surely = likely = np.inf  # the least explanation, at the upper end of its interval and as estimated
            for left in range(groups):
                for right in range(groups):
                    chain = ((j, left), (k, right), (left, right))
                    if len({j, k, left, right}) < 4 or not is_clear[left, right]:
                        continue
                    explained = max(0.0, mean[j, left]) * max(0.0, mean[k, right]) / mean[left, right]
                    is_apart = not (is_same[j, left] or is_same[k, left] or is_same[j, right] or is_same[k, right])
                    if is_apart and is_counted[j, left] and is_counted[k, right]:
                        likely = min(likely, explained)
                    if all(usable[link] for link in chain):
                        relative = sum(variance[link] / mean[link] ** 2 for link in chain)
                        surely = min(surely, explained * float(np.exp(2.0 * np.sqrt(relative))))
            beyond = mean[j, k] - 2.0 * np.sqrt(variance[j, k]) - surely
            if np.isfinite(likely):
                is_copy = is_same[j, k] and likely <= mean[j, k] - _EXCESS
            else:
                is_copy = is_same[j, k] and mean[j, k] + np.sqrt(variance[j, k]) >= _IDENTICAL
            if beyond > _EXCESS:
                excess[j, k] = beyond
            elif is_copy:
                excess[j, k] = mean[j, k] - _SAME + 1e-9
    return excess
