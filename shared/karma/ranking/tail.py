"""Whether probabilities near 1 hold: stated and observed error by bins of the stated probability above .8.

A calibration error over all pairs hides the far ones, where a judge that lapses now and then, or some prompts on which
the order is reversed, multiplies a small error. A bin is reliable where the observed error is known to be equivalent to
the stated one (two one-sided tests, Schuirmann 1987, J. Pharmacokinetics and Biopharmaceutics 15, 657–680).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from karma.ranking.label_error import Audited, label_error, wilson

#: Edges of the bins of P(the predicted side is better | decisive).
EDGES = (0.8, 0.9, 0.95, 0.98, 0.99, 1.0)
#: Largest difference between stated and observed error at which they count as equal.
TOLERANCE = 0.015
#: Why fewer errors than stated show nothing where the same verdicts taught the probabilities: they fit their noise.
FITTED = "fewer went wrong than expected, but the ratings were learned from these verdicts"


@dataclass(frozen=True)
class TailBin:
    """Pairs with a stated probability between two edges. Errors are shares of decisive verdicts."""

    low: float  # edge, of the stated probability
    high: float
    stated: float  # error: 1 minus the mean stated probability
    observed: float
    observed_low: float  # of the 95 % interval
    observed_high: float
    number: float  # verdicts behind it; an effective number where they have weights
    fitted: bool = False  # whether the probabilities were learned from the same verdicts

    @property
    def state(self) -> Literal["reliable", "unreliable", "unknown"]:
        """Whether stated and observed error agree, do not, or nobody can tell."""
        if self.observed_high <= self.stated + TOLERANCE and self.observed_low >= self.stated - TOLERANCE:
            return "reliable"
        return "unknown" if self.why_unknown else "unreliable"

    @property
    def why_unknown(self) -> str:
        """Why stated and observed error may agree or not; empty where they are known to differ."""
        if self.observed_low <= self.stated <= self.observed_high:
            return "too few verdicts"
        return FITTED if self.fitted and self.observed < self.stated else ""

    def data(self) -> dict[str, Any]:
        """The bin with its state as JSON types."""
        return {**asdict(self), "state": self.state, "why": self.why_unknown if self.state == "unknown" else ""}

    def text(self) -> str:
        """The bin in words."""
        found = f"{self.observed:.1%} wrong ({self.observed_low:.1%} to {self.observed_high:.1%}, {self.number:,.0f})"
        why = f" ({self.why_unknown})" if self.state == "unknown" else ""
        return f"P {self.low:g} to {self.high:g}: stated {self.stated:.1%}, {found}: {self.state}{why}"


def bin_of(probability: float) -> tuple[float, float] | None:
    """The edges of the bin of P(the first side is better), by the side that it favors; None up to .8."""
    place = int(_bin_of(np.array([max(probability, 1.0 - probability)]))[0])
    return None if place < 0 else (EDGES[place], EDGES[place + 1])


def label_tail(audited: Sequence[Audited], unjudged: int) -> tuple[TailBin, ...]:
    """The bins of predicted labels with an audited pair in them.

    Args:
        audited: of a stream, by the label error that they estimate.
        unjudged: labels of the stream.
    """
    kept = [pair for pair in audited if pair.probability < 1.0 and pair.stated is not None]
    weight = np.array([(1.0 - pair.probability) / pair.probability for pair in kept])
    stated = np.array([pair.stated for pair in kept], dtype=np.float64)
    stated = np.maximum(stated, 1.0 - stated)
    found = []
    for number, (low, high) in enumerate(pairwise(EDGES)):
        inside = np.flatnonzero(_bin_of(stated) == number)
        if not len(inside):
            continue
        labels = round(unjudged * float(weight[inside].sum() / weight.sum()))
        error = label_error([kept[index] for index in inside.tolist()], labels)
        if error is not None:
            said = 1.0 - float(np.average(stated[inside], weights=weight[inside]))
            found.append(TailBin(low, high, said, error.estimate, error.low, error.high, error.audited))
    return tuple(found)


def win_tail(
    probability: NDArray[np.float64], won: NDArray[np.float64], lost: NDArray[np.float64]
) -> tuple[TailBin, ...]:
    """The bins of P(win | decisive) by competency, from the counts of n pairs of models.

    Args:
        probability: that the first model wins, [n].
        won: effective number of verdicts for it, [n].
        lost: against it, [n].
    """
    number = won + lost
    counted = number > 0.0
    probability, won, number = probability[counted], won[counted], number[counted]
    right = np.where(probability >= 0.5, won, number - won)
    stated = np.maximum(probability, 1.0 - probability)
    found = []
    for place, (low, high) in enumerate(pairwise(EDGES)):
        inside = _bin_of(stated) == place
        total = float(number[inside].sum())
        if total < 1.0:
            continue
        error = 1.0 - float(right[inside].sum()) / total
        said = 1.0 - float(stated[inside] @ number[inside]) / total
        # Verdicts on one pair of models share its misfit; the pairs are the clusters of the variance.
        expected = np.clip(1.0 - stated[inside] + error - said, 0.0, 1.0)
        residual = number[inside] * (1.0 - expected) - right[inside]
        independent = total * error * (1.0 - error)
        effect = max(1.0, float(residual @ residual) / independent) if independent > 0.0 else 1.0
        found.append(TailBin(low, high, said, error, *wilson(error, total / effect), total, fitted=True))
    return tuple(found)


def _bin_of(stated: NDArray[np.float64]) -> NDArray[np.intp]:
    """The bin of each probability, [n]; −1 below the first."""
    return np.minimum(np.searchsorted(EDGES, stated, side="right") - 1, len(EDGES) - 2)
