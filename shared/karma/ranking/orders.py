"""Orders: which of a pair's two responses a judge sees first, and when it is asked again in the other order.

A verdict can depend on the position of the responses. A stream asks a judge in `both` orders, in `one` that is drawn by
the pair's seed, or `adaptive`: first in a drawn one, and in the other one where that may change the label. The plan of
a pair is drawn when the pair is formed and stored with it, so that whether a verdict calls for a second one is a
function of the stored rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from karma.verdicts import TIE_MARGIN, a_is_better, side

_MOST_LOGITS = 4.0  # of a verdict or an expectation


@dataclass(frozen=True)
class SecondOrder:
    """How a judge's second order turned out where it was asked: logistic, over four `features` of the first verdict."""

    weights: tuple[float, ...]
    pairs: int = 0  # that it was fitted to

    def doubt(self, features: tuple[float, ...]) -> float:
        """P(the verdict in the other order takes the label away: both together give a tie, or the other side)."""
        return 1.0 / (1.0 + math.exp(sum(w * x for w, x in zip(self.weights, features, strict=True))))


def features(a_better: float, shown: int, expected: float) -> tuple[float, ...]:
    """What the first verdict says of the second, seen from the side that it took.

    A constant; how sure the verdict is, in logits; 1 if its side was shown first, else −1, so that a preference for a
    position counts; and the expectation before the verdict, in logits for its side.

    Args:
        a_better: P(a is better) by the verdict.
        shown: its order.
        expected: P(a is better | decisive) before it.
    """
    sign = 1.0 if a_better > 0.5 else -1.0
    at_first = 1.0 if (a_better > 0.5) == (shown == 0) else -1.0
    return 1.0, abs(capped_logit(a_better)), at_first, sign * capped_logit(expected)


@dataclass(frozen=True)
class OrderPlan:
    """The orders of one pair; judges whose verdicts do not depend on the order are not in it."""

    setting: Literal["adaptive", "one"]  # of the stream
    first: Mapping[str, int]  # judge → its first order, drawn: 0 shows response a first
    rules: Mapping[str, SecondOrder] = field(default_factory=dict)  # judges not in it are asked both orders at once
    most_doubt: float = 0.0  # up to which the first verdict is enough
    audited: bool = False  # drawn to be asked both orders at once, whatever the first says
    audit_share: float = 1.0  # the probability of that draw
    tie_margin: float = TIE_MARGIN  # of the stream

    def at_once(self, judge: str) -> tuple[int, ...]:
        """The orders that are asked when the pair is formed."""
        first = self.first[judge]
        both = self.setting == "adaptive" and (self.audited or judge not in self.rules)
        return (first, 1 - first) if both else (first,)

    def doubt(self, judge: str, probability: float | None, expected: float) -> float:
        """P(the second order would take away the label that the first verdict gives); 1 where it gives none.

        Args:
            judge: one with a rule.
            probability: P(the response shown first is better), by the first verdict; None if that failed.
            expected: P(a is better | decisive) before the verdict.
        """
        if probability is None:
            return 1.0
        a_better = a_is_better(probability, self.first[judge])
        if side(a_better, self.tie_margin) == "none":
            return 1.0
        return self.rules[judge].doubt(features(a_better, self.first[judge], expected))

    def calls_for_second(self, judge: str, probability: float | None, expected: float) -> bool:
        """Whether the first verdict of a judge makes the second order worth asking; arguments as of `doubt`."""
        if self.setting != "adaptive" or judge not in self.rules:
            return False
        return self.doubt(judge, probability, expected) > self.most_doubt

    def second_probability(self, judge: str, probability: float | None, expected: float) -> float:
        """The probability with which a pair with this first verdict is asked in both orders; never 0 if adaptive."""
        if self.setting == "one":
            return 0.0
        if judge not in self.rules or self.calls_for_second(judge, probability, expected):
            return 1.0
        return self.audit_share

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON types."""
        plan: dict[str, Any] = {"setting": self.setting, "first": dict(self.first)}
        if self.setting == "adaptive":
            rules = {judge: [*(round(w, 4) for w in rule.weights), rule.pairs] for judge, rule in self.rules.items()}
            plan |= {"rules": rules, "most_doubt": self.most_doubt}
            plan |= {"audited": self.audited, "audit_share": self.audit_share, "tie_margin": self.tie_margin}
        return plan

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any] | None) -> OrderPlan | None:
        """The plan from the result of `to_dict`; None for a pair that is asked in both orders."""
        if not fields:
            return None
        rules = {judge: SecondOrder(tuple(row[:-1]), row[-1]) for judge, row in fields.get("rules", {}).items()}
        return cls(**{**fields, "rules": rules})


def expected_win(predicted: float | None, win_probability: float | None) -> float:
    """P(a is better | decisive) before any verdict: by the outcome model, else by competency, else a half."""
    known = win_probability if predicted is None else predicted
    return 0.5 if known is None else known


def capped_logit(probability: float) -> float:
    """The logit, at most 4 from 0: a judge that names a side is no surer than that."""
    most = 1.0 / (1.0 + math.exp(-_MOST_LOGITS))
    p = min(most, max(1.0 - most, probability))
    return math.log(p / (1.0 - p))
