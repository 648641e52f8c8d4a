"""Rules about verdicts: side, position, order flip, agreement, and the resolution of a pair.

All figures of KARMA (resolution, metrics, page, `karma watch`, report, status, export) use these rules. A verdict is
the probability that the response shown *first* is better. Its order `shown` is 0 if response a was first, else 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, NamedTuple, Protocol, get_args

Outcome = Literal["decisive", "tie", "inconsistent", "unscored"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
#: What is stored as the outcome of a pair whose answer is known (`canary_share`): it is no preference, whatever it got.
CANARY = "canary"
Side = Literal["a", "b", "none"]
Position = Literal["first", "second", "none"]

#: |p − 0.5| up to which a verdict takes no side, unless the stream sets `tie_margin`.
TIE_MARGIN = 0.05

#: Tolerance, so that a rounding error never moves a probability across the margin when the responses are swapped.
_ROUNDING = 1e-9
#: Largest log-odds that several verdicts give together.
_MOST_LOG_ODDS = 9.0


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


@dataclass(frozen=True, slots=True)
class Weighed:
    """What the verdicts of one judge on a pair count for."""

    weight: float  # the judge's share of the jury's weight among the judges of the pair
    log_odds: float  # that it adds for response a


class Weighs(Protocol):
    """Knows how much the word of each judge counts (`karma.ranking.jury`)."""

    def weigh(self, verdicts: Iterable[Verdict]) -> Mapping[str, Weighed]:
        """By judge; empty where the mean over the judges stands: one judge, or one of whom too little is known."""
        ...

    def in_rotation(self) -> Weighs:
        """The same for pairs whose judges were drawn: the verdicts of one judge are weighed, too."""
        ...


def a_is_better(probability: float, shown: int) -> float:
    """P(response a is better), from P(the response shown first is better) and the order."""
    return probability if shown == 0 else 1.0 - probability


def side(a_better: float, tie_margin: float = TIE_MARGIN) -> Side:
    """The side that P(a is better) favors; `none` within the tie margin."""
    if abs(a_better - 0.5) <= tie_margin + _ROUNDING:
        return "none"
    return "a" if a_better > 0.5 else "b"


def position(probability: float, tie_margin: float = TIE_MARGIN) -> Position:
    """The position that a verdict favors, whichever response is there."""
    favored = side(probability, tie_margin)
    return "none" if favored == "none" else "first" if favored == "a" else "second"


class Opinion(NamedTuple):
    """The opinion of one judge on a pair: its valid verdicts, one or both orders, combined."""

    judge: str
    a_better: float  # P(a is better), mean over the orders: a judge counts equally with one order or two
    side: Side
    both_orders: bool  # whether both orders have a valid verdict
    flipped: bool  # whether the two orders take different sides


def opinions(verdicts: Iterable[Verdict], tie_margin: float = TIE_MARGIN) -> list[Opinion]:
    """The opinions of the judges with a valid verdict, in the order of their first one."""
    by_judge: dict[str, dict[int, float]] = {}
    for verdict in verdicts:
        if verdict.probability is not None:
            orders = by_judge.setdefault(verdict.judge, {})
            orders[verdict.shown] = a_is_better(verdict.probability, verdict.shown)
    result = []
    for judge, orders in by_judge.items():
        if len(orders) == 1:
            (mean,) = orders.values()
            result.append(Opinion(judge, mean, side(mean, tie_margin), both_orders=False, flipped=False))
            continue
        mean = sum(orders.values()) / len(orders)
        both = len(orders) == 2
        flipped = both and {side(a_better, tie_margin) for a_better in orders.values()} == {"a", "b"}
        result.append(Opinion(judge, mean, side(mean, tie_margin), both, flipped))
    return result


def agreements(given: Iterable[Opinion]) -> list[tuple[str, str, bool]]:
    """(judge, other judge, same side) for every two judges that both take a side of a pair."""
    given = list(given)
    if len(given) < 2:
        return []
    sided = sorted((opinion for opinion in given if opinion.side != "none"), key=lambda opinion: opinion.judge)
    return [(first.judge, second.judge, first.side == second.side) for first, second in combinations(sided, 2)]


def agreement(given: Iterable[Opinion]) -> float | None:
    """The share of pairs of judges that take the same side; None if fewer than two judges take a side."""
    same = [agrees for _first, _second, agrees in agreements(given)]
    return sum(same) / len(same) if same else None


def combined(given: Sequence[Opinion], weighed: Mapping[str, Weighed] | None = None) -> float:
    """P(a is better): averaged over the judges, or by the sum of their weighed log-odds."""
    if not weighed:
        return sum(opinion.a_better for opinion in given) / len(given)
    log_odds = sum(weighed[opinion.judge].log_odds for opinion in given)
    return 1.0 / (1.0 + math.exp(-max(-_MOST_LOG_ODDS, min(_MOST_LOG_ODDS, log_odds))))


@dataclass(frozen=True, slots=True)
class LabelAgreement:
    """Whether a judge takes the side of a pair's label. None: it, or the label, takes none."""

    judge: str
    with_label: bool | None  # of all judges, this one included: its own vote pulls the label to its side
    with_others: bool | None  # resolved by the other judges alone (leave one out; Stone 1974, JRSS B 36, 111–147)


def label_agreements(
    given: Sequence[Opinion], tie_margin: float = TIE_MARGIN, weighed: Mapping[str, Weighed] | None = None
) -> list[LabelAgreement]:
    """How each judge of a pair agrees with its label; nothing with fewer than two judges.

    `weighed` is what the judges counted for when the pair was resolved; None: alike.
    """
    if len(given) < 2:
        return []
    label = side(combined(given, weighed), tie_margin)
    return [
        LabelAgreement(
            one.judge,
            _same(one.side, label),
            _same(one.side, side(combined([other for other in given if other is not one], weighed), tie_margin)),
        )
        for one in given
    ]


def _same(first: Side, second: Side) -> bool | None:
    return None if "none" in (first, second) else first == second


@dataclass(frozen=True)
class Resolution:
    """The outcome of a pair.

    `probability` is P(a is better), averaged over the judges or `weighed`. `flipped` is whether any judge's two orders
    take different sides; None if no judge is valid in both orders.
    """

    outcome: Outcome
    probability: float | None = None
    flipped: bool | None = None
    reason: str | None = None
    weighed: Mapping[str, Weighed] | None = None  # by judge; None: the mean

    @property
    def a_is_chosen(self) -> bool:
        """Whether the pair is decisive and response a is chosen."""
        return self.outcome == "decisive" and self.probability is not None and self.probability > 0.5


def resolve(verdicts: Iterable[Verdict], tie_margin: float = TIE_MARGIN, jury: Weighs | None = None) -> Resolution:
    """The outcome of a pair from its verdicts.

    `unscored`: no valid verdict. `decisive`: the judges together take a side, by the weights of the `jury` where it
    knows them all, else by their mean. If they take none: `inconsistent` with an order flip, else `tie`.
    """
    given = list(verdicts)
    valid = opinions(given, tie_margin)
    if not valid:
        reasons = sorted({verdict.failure for verdict in given if verdict.failure})
        return Resolution("unscored", reason="; ".join(reasons) or "no verdict")
    weighed = None if jury is None else jury.weigh(given)
    probability = combined(valid, weighed)
    both = [opinion.flipped for opinion in valid if opinion.both_orders]
    flipped = any(both) if both else None
    if side(probability, tie_margin) != "none":
        return Resolution("decisive", probability, flipped, weighed=weighed or None)
    return Resolution("inconsistent" if flipped else "tie", probability, flipped, weighed=weighed or None)


def agrees_with_competency(win_probability: float | None, a_is_chosen: bool) -> bool | None:
    """Whether competency, when the pair was formed, favored the winner; None if it favored neither model."""
    if win_probability is None or win_probability == 0.5:
        return None
    return (win_probability > 0.5) == a_is_chosen
