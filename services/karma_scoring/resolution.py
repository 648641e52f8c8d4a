"""Resolution: what the verdicts on a pair come to. Four outcomes, never mixed up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["decisive", "tie", "inconsistent", "unscored"]
Side = Literal["a", "b", "none"]

#: |p − 0.5| within which neither side is taken.
TIE_MARGIN = 0.05

#: So that swapping the responses never moves a probability across the margin by a rounding error.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Opinion:
    """A verdict as resolution sees it: `probability` that the first shown is better (None: no valid verdict)."""

    judge: str
    shown: int  # 0: response a was shown first, 1: b was
    probability: float | None
    failure: str | None = None


@dataclass(frozen=True)
class Resolution:
    """What a pair came to.

    `probability` is that response a is better, averaged over all valid verdicts. `flipped` says whether one judge took
    different sides in the two orders; None where no judge was valid in both.
    """

    outcome: Outcome
    probability: float | None = None
    flipped: bool | None = None
    reason: str | None = None

    @property
    def a_is_chosen(self) -> bool:
        """Whether a decisive pair chose response a."""
        return self.outcome == "decisive" and self.probability is not None and self.probability > 0.5


def resolve(opinions: Sequence[Opinion], tie_margin: float = TIE_MARGIN) -> Resolution:
    """Resolve a pair from its verdicts.

    Each judge's orders are averaged first, so that a judge who saw one order weighs as much as one who saw two.
    `unscored`: no valid verdict. `decisive`: the average takes a side. Where it takes none, `inconsistent` if a judge's
    orders contradict each other, else `tie`.
    """
    valid: dict[str, dict[int, float]] = {}
    for opinion in opinions:
        if opinion.probability is not None:
            better_a = opinion.probability if opinion.shown == 0 else 1.0 - opinion.probability
            valid.setdefault(opinion.judge, {})[opinion.shown] = better_a
    if not valid:
        reasons = sorted({opinion.failure for opinion in opinions if opinion.failure})
        return Resolution("unscored", reason="; ".join(reasons) or "no verdict")
    probability = sum(sum(orders.values()) / len(orders) for orders in valid.values()) / len(valid)
    both = [orders for orders in valid.values() if len(orders) == 2]
    flipped = any({side(orders[0], tie_margin), side(orders[1], tie_margin)} == {"a", "b"} for orders in both)
    known = flipped if both else None
    if side(probability, tie_margin) != "none":
        return Resolution("decisive", probability, known)
    return Resolution("inconsistent" if flipped else "tie", probability, known)


def side(better_a: float, tie_margin: float = TIE_MARGIN) -> Side:
    """The side that a probability of a being better takes."""
    if abs(better_a - 0.5) <= tie_margin + _ROUNDING:
        return "none"
    return "a" if better_a > 0.5 else "b"
