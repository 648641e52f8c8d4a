"""What verdicts say: sides, positions, flips, agreement, and the resolution of a pair.

Every face of KARMA (resolution, metrics, page, `karma watch`, report, status, export) reads these rules from here. A
verdict is the probability that the response shown *first* is better; `shown` is 0 where response a was first, else 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, Protocol, get_args

Outcome = Literal["decisive", "tie", "inconsistent", "unscored"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
Side = Literal["a", "b", "none"]
Position = Literal["first", "second", "none"]

#: |p − 0.5| up to which a verdict takes no side, unless the stream sets `tie_margin`.
TIE_MARGIN = 0.05

#: So that swapping the responses never moves a probability across the margin by a rounding error.
_ROUNDING = 1e-9


class Verdict(Protocol):
    """One judge's verdict on a pair in one order."""

    @property
    def judge(self) -> str:
        """The judge's name."""
        ...

    @property
    def shown(self) -> int:
        """The order: 0 shows response a first, 1 shows b first."""
        ...

    @property
    def probability(self) -> float | None:
        """P(the response shown first is better); None where the verdict failed."""
        ...

    @property
    def failure(self) -> str | None:
        """Why the verdict failed."""
        ...


def a_is_better(probability: float, shown: int) -> float:
    """P(response a is better), from the probability that the response shown first is."""
    return probability if shown == 0 else 1.0 - probability


def side(a_better: float, tie_margin: float = TIE_MARGIN) -> Side:
    """The side that P(a is better) takes."""
    if abs(a_better - 0.5) <= tie_margin + _ROUNDING:
        return "none"
    return "a" if a_better > 0.5 else "b"


def position(probability: float, tie_margin: float = TIE_MARGIN) -> Position:
    """The position that a verdict prefers, whichever response stood there."""
    preferred = side(probability, tie_margin)
    return "none" if preferred == "none" else "first" if preferred == "a" else "second"


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one judge says of a pair over all its valid verdicts; at least one is valid."""

    judge: str
    a_better: float  # P(a is better), the mean over the orders, so that one order weighs as much as two
    side: Side
    both_orders: bool  # whether both orders have a valid verdict
    flipped: bool  # whether the two orders take different sides


def opinions(verdicts: Iterable[Verdict], tie_margin: float = TIE_MARGIN) -> list[Opinion]:
    """The opinions of the judges that gave a valid verdict, in the order of their first one."""
    by_judge: dict[str, dict[int, float]] = {}
    for verdict in verdicts:
        if verdict.probability is not None:
            orders = by_judge.setdefault(verdict.judge, {})
            orders[verdict.shown] = a_is_better(verdict.probability, verdict.shown)
    found = []
    for judge, orders in by_judge.items():
        mean = sum(orders.values()) / len(orders)
        both = len(orders) == 2
        flipped = both and {side(one, tie_margin) for one in orders.values()} == {"a", "b"}
        found.append(Opinion(judge, mean, side(mean, tie_margin), both, flipped))
    return found


def agreements(given: Iterable[Opinion]) -> list[tuple[str, str, bool]]:
    """Every two judges that both take a side of a pair, and whether it is the same side."""
    sided = sorted((one for one in given if one.side != "none"), key=lambda one: one.judge)
    return [(one.judge, other.judge, one.side == other.side) for one, other in combinations(sided, 2)]


def agreement(given: Iterable[Opinion]) -> float | None:
    """The share of all two judges that take the same side; None where fewer than two take one."""
    same = [alike for _one, _other, alike in agreements(given)]
    return sum(same) / len(same) if same else None


@dataclass(frozen=True)
class Resolution:
    """The outcome of a pair.

    `probability` is P(a is better), averaged over the judges. `flipped` says whether the two orders of a judge took
    different sides; None where no judge was valid in both.
    """

    outcome: Outcome
    probability: float | None = None
    flipped: bool | None = None
    reason: str | None = None

    @property
    def a_is_chosen(self) -> bool:
        """Whether a decisive pair chose response a."""
        return self.outcome == "decisive" and self.probability is not None and self.probability > 0.5


def resolve(verdicts: Iterable[Verdict], tie_margin: float = TIE_MARGIN) -> Resolution:
    """The outcome of a pair from its verdicts.

    `unscored`: no valid verdict. `decisive`: the mean over the judges takes a side. Where it takes none, `inconsistent`
    if a judge's orders contradict each other, else `tie`.
    """
    given = list(verdicts)
    valid = opinions(given, tie_margin)
    if not valid:
        reasons = sorted({verdict.failure for verdict in given if verdict.failure})
        return Resolution("unscored", reason="; ".join(reasons) or "no verdict")
    probability = sum(one.a_better for one in valid) / len(valid)
    both = [one.flipped for one in valid if one.both_orders]
    flipped = any(both) if both else None
    if side(probability, tie_margin) != "none":
        return Resolution("decisive", probability, flipped)
    return Resolution("inconsistent" if flipped else "tie", probability, flipped)


def agrees_with_competency(win_probability: float | None, a_is_chosen: bool) -> bool | None:
    """Whether the model won that competency favored when the pair was formed; None where it favored neither."""
    if win_probability is None or win_probability == 0.5:
        return None
    return (win_probability > 0.5) == a_is_chosen
