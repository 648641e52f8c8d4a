"""The audit: how wrong the labels are that no judge saw, from the pairs that were judged by chance.

A pair that the gate would have labelled is judged with a known probability π < 1. Weighed by (1 − π)/π, such pairs
stand for those that were not judged (Horvitz & Thompson 1952, JASA 47, 663–685).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

_Z95 = 1.959964


@dataclass(frozen=True)
class Audited:
    """One judged pair whose verdict is decisive and that might have been left unjudged."""

    probability: float  # π, of being judged
    wrong: bool  # whether the prediction takes the other side than the verdict
    prompt: int  # pairs of one prompt tend to be wrong together


@dataclass(frozen=True)
class LabelError:
    """The share of wrong labels among those that no judge saw and whose verdict would be decisive."""

    estimate: float
    low: float  # of the 95 % interval
    high: float
    audited: int  # pairs behind it
    unjudged: int  # labels it speaks of


def label_error(audited: Iterable[Audited], unjudged: int) -> LabelError | None:
    """The audited error with its 95 % interval; None where nothing was audited.

    The interval is Wilson's (1927, JASA 22, 209–212) for the effective number of audited pairs: that of their weights
    (Kish 1965), or less where pairs of one prompt err together (the variance of a ratio over clusters, Särndal,
    Swensson & Wretman 1992, section 5.6). To it comes the chance that lies in the unjudged labels themselves: what is
    estimated is the error of exactly those.
    """
    pairs = [(pair, (1.0 - pair.probability) / pair.probability) for pair in audited if pair.probability < 1.0]
    if not pairs:
        return None
    total = sum(weight for _, weight in pairs)
    share = sum(weight * pair.wrong for pair, weight in pairs) / total
    off: dict[int, float] = defaultdict(float)
    for pair, weight in pairs:
        off[pair.prompt] += weight * (pair.wrong - share)
    apart = share * (1.0 - share) * sum(weight * weight for _, weight in pairs)
    together = sum(value * value for value in off.values())
    likeness = max(1.0, together / apart) if apart > 0.0 else 1.0
    effective = total * total / sum(weight * weight for _, weight in pairs)
    number = 1.0 / (likeness / effective + likeness / max(1, unjudged))
    z2 = _Z95 * _Z95
    centre = (share + z2 / (2.0 * number)) / (1.0 + z2 / number)
    half = _Z95 * math.sqrt(share * (1.0 - share) / number + z2 / (4.0 * number * number)) / (1.0 + z2 / number)
    return LabelError(share, max(0.0, centre - half), min(1.0, centre + half), len(pairs), unjudged)
