"""The audit: estimates the share of wrong labels among predicted labels, from pairs judged at random.

A pair that the judge budget would leave to the prediction is judged with a known probability π < 1. With the weight
(1 − π)/π, the judged ones represent the unjudged ones (Horvitz & Thompson 1952, JASA 47, 663–685).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

_Z95 = 1.959964


@dataclass(frozen=True)
class Audited:
    """One judged pair with a decisive verdict that might have stayed unjudged."""

    probability: float  # π, of being judged
    wrong: bool  # whether prediction and verdict take different sides
    prompt: int  # errors are correlated within a prompt
    stated: float | None = None  # P(a better | decisive) of the prediction


@dataclass(frozen=True)
class LabelError:
    """The share of wrong labels among unjudged pairs whose verdict would be decisive."""

    estimate: float
    low: float  # of the 95 % interval
    high: float
    audited: int  # pairs behind the estimate
    unjudged: int  # labels that the estimate is about


def label_error(audited: Iterable[Audited], unjudged: int) -> LabelError | None:
    """The audited label error with its 95 % interval; None without an audited pair.

    The interval is Wilson's (1927, JASA 22, 209–212) for the effective number of audited pairs: Kish's (1965) for
    their weights, divided by the design effect of prompts as clusters (the variance of a ratio, Särndal, Swensson &
    Wretman 1992, section 5.6). It also includes the sampling variance of the finite number of unjudged labels, because
    the error of exactly those labels is estimated.
    """
    pairs = [(pair, (1.0 - pair.probability) / pair.probability) for pair in audited if pair.probability < 1.0]
    if not pairs:
        return None
    total = sum(weight for _, weight in pairs)
    share = sum(weight * pair.wrong for pair, weight in pairs) / total
    residual: dict[int, float] = defaultdict(float)  # by prompt
    for pair, weight in pairs:
        residual[pair.prompt] += weight * (pair.wrong - share)
    squares = sum(weight * weight for _, weight in pairs)
    independent = share * (1.0 - share) * squares
    clustered = sum(value * value for value in residual.values())
    design_effect = max(1.0, clustered / independent) if independent > 0.0 else 1.0
    number = 1.0 / (design_effect / (total * total / squares) + design_effect / max(1, unjudged))
    return LabelError(share, *wilson(share, number), len(pairs), unjudged)


def wilson(share: float, number: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share among an effective number of pairs."""
    z2 = _Z95 * _Z95
    center = (share + z2 / (2.0 * number)) / (1.0 + z2 / number)
    half = _Z95 * math.sqrt(share * (1.0 - share) / number + z2 / (4.0 * number * number)) / (1.0 + z2 / number)
    return max(0.0, min(share, center - half)), min(1.0, max(share, center + half))  # rounding excludes neither 0 nor 1
