"""Judges of a pair: which of a stream's judges are asked, and which only if the first one's verdict calls for them.

In a *cascade* a stream asks one judge first, in its orders, and the others, the *larger* ones, only where its verdict
is in doubt. In *rotation* it asks some judges that are drawn for each pair. The plan of a pair is drawn when the pair
is formed and stored with it, so that whether a verdict calls for the larger judges is a function of the stored rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from karma.ranking.orders import capped_logit
from karma.verdicts import TIE_MARGIN, Opinion, Verdict, opinions

_MOST_LENGTH_RATIO = 2.0  # natural logarithm

#: Why the judges that are asked at once are these.
Why = Literal["first", "audit", "unknown", "drawn", "all"]

#: The judge that is asked first, and the larger judges by name.
Cascade = tuple[str, ...]


def cascade_of(first: str, larger: Iterable[str]) -> Cascade:
    """The cascade of these judges; `larger` in any order."""
    return (first, *sorted(larger))


@dataclass(frozen=True)
class CascadeRule:
    """How often the larger judges disagreed with the first one: logistic, over the `features` of its verdicts."""

    weights: tuple[float, ...]
    pairs: int = 0  # that it was fitted to

    def doubt(self, features: Sequence[float]) -> float:
        """P(the larger judges' label is another one: the other side, or none)."""
        return 1.0 / (1.0 + math.exp(sum(w * x for w, x in zip(self.weights, features, strict=True))))


def features(opinion: Opinion, shown: int | None, expected: float, lengths: tuple[int, int]) -> tuple[float, ...]:
    """What the first judge's opinion says of the larger judges' label, seen from the side that it took.

    A constant; its certainty, logits; the expectation before it, logits for its side; 1 if its side was shown first,
    −1 if second, 0 with both orders; 1 if its two orders contradict each other; and ln(length of its side ÷ of the
    other), at most 2 from 0, as a judge may prefer length.

    Args:
        opinion: one that takes a side.
        shown: its order; None with both.
        expected: P(a is better | decisive) before it.
        lengths: of responses a and b, characters.
    """
    for_a = opinion.a_better > 0.5
    sign = 1.0 if for_a else -1.0
    at_first = 0.0 if shown is None else 1.0 if for_a == (shown == 0) else -1.0
    longer = math.log((1 + lengths[0]) / (1 + lengths[1]))
    return (
        1.0,
        abs(capped_logit(opinion.a_better)),
        sign * capped_logit(expected),
        at_first,
        float(opinion.flipped),
        sign * max(-_MOST_LENGTH_RATIO, min(_MOST_LENGTH_RATIO, longer)),
    )


@dataclass(frozen=True)
class JudgePlan:
    """The judges of one pair."""

    first: str | None  # the judge that is asked first; None: in rotation
    at_once: tuple[str, ...]  # judges that are asked when the pair is formed, the first one included
    # `first`: only the first one; `audit`: drawn to be seen by all; `unknown`: there was no rule yet. In rotation,
    # `drawn`: these were drawn; `all`: the pair was drawn to be seen by all.
    why: Why
    later: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # larger judge → orders, if it is called
    rule: CascadeRule | None = None
    most_doubt: float = 0.0  # up to which the first judge decides
    audit_share: float = 1.0  # the probability of the draw to be seen by all
    tie_margin: float = TIE_MARGIN  # of the stream

    @property
    def larger(self) -> tuple[str, ...]:
        """The judges of a cascade that are not the first one."""
        return tuple(judge for judge in (*self.at_once, *self.later) if judge != self.first)

    @property
    def cascade(self) -> Cascade | None:
        """The cascade of its judges; None in rotation."""
        return None if self.first is None else cascade_of(self.first, self.larger)

    def doubt(self, verdicts: Iterable[Verdict], expected: float, lengths: tuple[int, int]) -> float | None:
        """P(the larger judges' label differs from the first one's); 1 where it gives none or a verdict of it failed.

        None without a rule.

        Args:
            verdicts: of the pair; those of other judges are ignored.
            expected: P(a is better | decisive) before them.
            lengths: of responses a and b, characters.
        """
        if self.rule is None:
            return None
        found = first_features(self, verdicts, expected, lengths)
        return 1.0 if found is None else self.rule.doubt(found)

    def calls_for_larger(self, verdicts: Iterable[Verdict], expected: float, lengths: tuple[int, int]) -> bool:
        """Whether the first judge's verdicts call for the larger judges; arguments as of `doubt`."""
        doubt = self.doubt(verdicts, expected, lengths)
        return doubt is None or doubt > self.most_doubt

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON types."""
        plan: dict[str, Any] = {"at_once": list(self.at_once), "judges_why": self.why}
        if self.first is None:
            return plan | {"all_judges_share": self.audit_share}
        plan |= {"first": self.first}
        plan |= {"later": {judge: list(orders) for judge, orders in self.later.items()}}
        if self.rule is not None:
            plan["rule"] = [*(round(w, 4) for w in self.rule.weights), self.rule.pairs]
        return plan | {
            "most_doubt": self.most_doubt,
            "judge_audit_share": self.audit_share,
            "tie_margin": self.tie_margin,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any] | None) -> JudgePlan | None:
        """The plan from the result of `to_dict`; None for a pair about which all judges are asked."""
        if not fields:
            return None
        if "first" not in fields:
            share = fields["all_judges_share"]
            return cls(None, tuple(fields["at_once"]), fields["judges_why"], audit_share=share)
        row = fields.get("rule")
        return cls(
            first=fields["first"],
            at_once=tuple(fields["at_once"]),
            why=fields["judges_why"],
            later={judge: tuple(orders) for judge, orders in fields["later"].items()},
            rule=CascadeRule(tuple(row[:-1]), row[-1]) if row else None,
            most_doubt=fields["most_doubt"],
            audit_share=fields["judge_audit_share"],
            tie_margin=fields["tie_margin"],
        )


def first_features(
    plan: JudgePlan, verdicts: Iterable[Verdict], expected: float, lengths: tuple[int, int]
) -> tuple[float, ...] | None:
    """The `features` of the first judge's verdicts; None where it takes no side or a verdict of it failed."""
    own = [each for each in verdicts if each.judge == plan.first]
    if not own or any(each.probability is None for each in own):
        return None
    (opinion,) = opinions(own, plan.tie_margin)
    if opinion.side == "none":
        return None
    return features(opinion, None if opinion.both_orders else own[0].shown, expected, lengths)
