"""The limit on the error of predicted labels: the largest expected information up to which predictions keep it.

Every judged pair also has the label that it would have had if it had stayed unjudged. Among these pairs, the share of
wrong labels below each threshold of expected information has an upper confidence bound; the labels below the largest
threshold whose bound fits the limit may go out (risk control: Angelopoulos, Bates, Candès, Jordan & Lei 2025, Annals of
Applied Statistics 19, 1641–1662). A refit chooses among all thresholds, and does so again and again on nearly the same
pairs. A bound for one threshold and one time would be too low where it is looked for, so that the bound is a confidence
sequence: it holds for all numbers of pairs at once (Robbins 1970, Annals of Mathematical Statistics 41, 1397–1409;
Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2024, Annals of Statistics 52, 2613–2640).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_MISSED = 0.05  # probability that the bound is ever below the error
_TUNED_TO = 50.0  # effective pairs; the sequence is tightest at a few times as many
_THRESHOLDS = 50  # that are tried: quantiles of the information
_STRATA = 20  # of pairs with similar information
_FEWEST = 30  # pairs below a threshold, to say how many more are needed

# An hourly limit of calls goes before: not all pairs are judged then.
_UNTIL = "pairs are judged until predicted labels are known to be right enough"

#: A ceiling above the information of any pair, bits: three outcomes have at most log2(3).
EVERY_PAIR = 2.0


class Calibrating(NamedTuple):
    """One judged pair with a decisive verdict, and the label that it would have had."""

    probability: float  # π, of being judged
    wrong: bool  # whether prediction and verdict take different sides
    prompt: int  # errors are correlated within a prompt
    information: float  # expected, bits, when the pair was formed


@dataclass(frozen=True)
class LabelLimit:
    """How far the judge may be spared under a limit on the label error."""

    limit: float  # `max_label_error`
    ceiling: float | None  # bits: labels of pairs with no more expected information keep the limit; None: none do
    share: float  # of the pairs that the ceiling leaves to the prediction
    estimate: float | None  # label error up to the ceiling; without one, at the most promising threshold
    bound: float | None  # its upper bound
    judged: int  # pairs behind all this
    more: int | None  # judged pairs until some labels may go out, at such errors; None: the errors are too high

    def reason(self) -> str:
        """The state in words."""
        if self.ceiling is not None and self.bound is not None:
            return (
                f"at most {self.bound:.1%} of the labels of the {self.share:.0%} most certain pairs are wrong "
                "(95 % confidence)"
            )
        if self.more is not None:
            return f"{_UNTIL}: about {max(1, self.more):,} more judged pairs are needed"
        if self.estimate is None:
            return f"{_UNTIL}: the {self.judged:,} judged so far are too few to tell any label error"
        return f"{_UNTIL}: now {self.estimate:.1%} are wrong even of the most certain ones"


def label_limit(pairs: Sequence[Calibrating], limit: float) -> LabelLimit:
    """The largest ceiling at which the upper bound of the label error fits a limit.

    Pairs of similar information count alike, whatever their probability of being judged, and together as the pairs that
    they stand for (1/π each, post-stratified: Holt & Smith 1979, JRSS A 142, 33–46). While everything is judged π is 1,
    and later that of the audit: with weights of 1/π alone, few audits would outweigh all that was known before.

    Args:
        pairs: of one stream, in any order.
        limit: share of wrong labels.
    """
    if not pairs:
        return LabelLimit(limit, None, 0.0, None, None, 0, None)
    columns = (np.array(column) for column in zip(*pairs, strict=True))
    probability, wrong, prompt, information = columns
    order = np.argsort(information, kind="stable")
    probability, wrong, information = probability[order], wrong[order].astype(np.float64), information[order]
    _, prompt = np.unique(prompt[order], return_inverse=True)
    weight = _post_stratified(1.0 / probability)
    below = np.cumsum(weight)
    ends = np.searchsorted(below, below[-1] * np.arange(1, _THRESHOLDS + 1) / _THRESHOLDS * (1.0 - 1e-9)) + 1
    # A ceiling lets all pairs of its information through.
    ends = np.unique(np.searchsorted(information, information[np.minimum(ends, len(order)) - 1], side="right"))
    tried = [_measured(wrong[:end], weight[:end], prompt[:end]) for end in ends.tolist()]
    fitting = [place for place, (_, _, bound) in enumerate(tried) if bound <= limit]
    if fitting:
        share, _, bound = tried[fitting[-1]]
        end = int(ends[fitting[-1]])
        ceiling = EVERY_PAIR if end == len(order) else float(information[end - 1])
        return LabelLimit(limit, ceiling, float(below[end - 1] / below[-1]), share, bound, len(pairs), 0)
    needed = [
        (_needed(share, limit) / number, place)
        for place, (share, number, _) in enumerate(tried)
        if share < limit and ends[place] >= _FEWEST
    ]
    if needed:
        factor, place = min(needed)
        return LabelLimit(limit, None, 0.0, *tried[place][::2], len(pairs), round(len(pairs) * max(0.0, factor - 1.0)))
    large = [each for each, end in zip(tried, ends, strict=True) if end >= _FEWEST]
    lowest = min(large) if large else None
    return LabelLimit(limit, None, 0.0, lowest and lowest[0], lowest and lowest[2], len(pairs), None)


def _post_stratified(inverse: Array) -> Array:
    """Weights of pairs sorted by information: the mean of 1/π in a stratum of similar information.

    Each stratum stands for as many pairs, so that it is narrow where few of them are judged.
    """
    below = np.cumsum(inverse)
    stratum = np.minimum((below * (_STRATA / below[-1])).astype(np.intp), _STRATA - 1)
    number = np.bincount(stratum, minlength=_STRATA)
    mean = np.bincount(stratum, weights=inverse, minlength=_STRATA) / np.maximum(number, 1)
    weight: Array = mean[stratum]
    return weight


def _measured(wrong: Array, weight: Array, prompt: NDArray[np.intp]) -> tuple[float, float, float]:
    """The weighted share of wrong labels, the effective number of pairs behind it, and the share's upper bound."""
    total, squares = float(weight.sum()), float(weight @ weight)
    share = float(weight @ wrong) / total
    residual = np.bincount(prompt, weights=weight * (wrong - share))
    independent = share * (1.0 - share) * squares
    design_effect = max(1.0, float(residual @ residual) / independent) if independent > 0.0 else 1.0
    number = total * total / squares / design_effect
    return share, number, upper_bound(share, number)


def upper_bound(share: float, number: float) -> float:
    """The upper end of the confidence sequence for a share among `number` independent pairs.

    Wilson's form (1927, JASA 22, 209–212), which holds for small shares, with the sequence's quantile z(n) of a normal
    mixture with the variance 1/ρ: z² = (1 + ρ/n) ln((1 + n/ρ) / (2α)²), one-sided (Robbins 1970, section 2).
    """
    z2 = (1.0 + _TUNED_TO / number) * math.log((1.0 + number / _TUNED_TO) / (2.0 * _MISSED) ** 2)
    half = math.sqrt(z2 * (share * (1.0 - share) / number + z2 / (4.0 * number * number)))
    return min(1.0, (share + z2 / (2.0 * number) + half) / (1.0 + z2 / number))


def _needed(share: float, limit: float) -> float:
    """The number of independent pairs at which the upper bound of a share below the limit fits it."""
    low, high = 1.0, 1e9
    while high > 1.001 * low:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if upper_bound(share, middle) <= limit else (middle, high)
    return high
