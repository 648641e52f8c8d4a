"""The jury: how much the word of each judge says of which response is better, and what several verdicts say together.

A judge's verdict enters as a log-odds: its logit times the judge's `scale` (a hard judge's logits are large and say
little, a soft one's are small and may say much). Judges whose errors go together count for less: n that always agree
count as one.

How several add up depends on what they err on. Errors that have nothing in common: log-odds add up (Good 1950,
Probability and the Weighing of Evidence, chapter 6). Errors on the same close pairs: each judge sees one margin with a
noise of its own (Thurstone 1927, Psychological Review 34, 273–286), of which it has the precision p = tan²(π (accuracy
− 1/2)) (Sheppard 1899), and the log-odds of all are Σ e_j √((1 + p_j) / (1 + Σ p_k)), so that a good judge is seldom
outvoted by two poorer ones. Verdicts of few judges do not tell which holds. So the two are pooled alike, by the mean of
their log-odds (Genest & Zidek 1986, Statistical Science 1, 114–148).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from karma.verdicts import Verdict, Weighed, a_is_better

#: Largest logit of a verdict: a probability of 0 or 1 is no surer than that.
MOST_LOGITS = 6.0
#: Largest accuracy of which a precision is made: a judge is never so good that others say nothing.
_MOST_ACCURACY = 0.98


@dataclass(frozen=True)
class JudgeWeight:
    """What is known of one judge from its verdicts beside those of others."""

    scale: float  # log-odds of the label per logit of its verdict, at least 0
    offset: float = 0.0  # log-odds that one order owes to the response shown first; both orders cancel it
    center: float = 0.0  # its mean logit for the response shown first, which says nothing
    usual: float = MOST_LOGITS  # its usual logit: beyond, it is no surer
    weight: float = 0.0  # its share of the log-odds that a pair with verdicts of all judges gets, in [0, 1]
    pairs: int = 0  # on which it and another judge, a reference or a person gave a verdict
    sided: int = 0  # of these: those on which it prefers a response, by however little
    accuracy: float | None = None  # P(the response it prefers is the better one); None without a preference
    low: float | None = None  # 95 % interval of the accuracy
    high: float | None = None
    position_bias: float | None = None  # mean P(first is better) − 1/2; None if it is shown one order only
    tie_rate: float | None = None  # share of its valid verdicts without a side
    flip_rate: float | None = None  # share of pairs in both orders on which these take different sides
    overlap: Mapping[str, float] = field(default_factory=dict)  # other judge → correlation of their errors, in (0, 1]
    is_anchor: bool = False  # a verifier or a person: its accuracy is given, not estimated

    def alone(self, logit: float, first: float) -> float:
        """The log-odds for a response by this judge alone.

        Args:
            logit: its logit for the response, mean over the orders.
            first: 1 if only the order with the response first was asked, −1 if only the other, 0 for both.
        """
        beyond = logit - self.center * first
        return self.scale * max(-self.usual, min(self.usual, beyond)) + self.offset * first

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> JudgeWeight:
        """The weight from its fields, also after a round trip through JSON."""
        return cls(**plain)


@dataclass(frozen=True)
class Jury:
    """The weights of judges by name. A pair is weighed where all its judges, `least_judges` or more, have one."""

    judges: Mapping[str, JudgeWeight] = field(default_factory=dict)
    least_judges: int = 2  # of a pair that is weighed

    def in_rotation(self) -> Jury:
        """The jury for pairs whose judges were drawn: one judge that stands for the others is weighed, too.

        Its verdict is then as certain as the judge is, and labels by different judges can be compared.
        """
        return replace(self, least_judges=1)

    def weigh(self, verdicts: Iterable[Verdict]) -> dict[str, Weighed]:
        """What each judge's verdicts add to the log-odds that response a is better; empty where the mean stands.

        `weight` is the judge's share of the jury's weight among the judges of the pair.
        """
        given: dict[str, list[tuple[float, float]]] = {}  # judge → logit for a, and 1 where a was shown first, else −1
        for verdict in verdicts:
            if verdict.probability is not None:
                for_a = clipped_logit(a_is_better(verdict.probability, verdict.shown))
                given.setdefault(verdict.judge, []).append((for_a, 1.0 - 2.0 * verdict.shown))
        if len(given) < self.least_judges or not given.keys() <= self.judges.keys():
            return {}
        known = {judge: self.judges[judge] for judge in given}
        total = sum(each.weight for each in known.values())
        counts = {
            judge: 1.0 / (1.0 + sum(each.overlap.get(other, 0.0) for other in given if other != judge))
            for judge, each in known.items()
        }
        shares = pooled([each.accuracy or 0.5 for each in known.values()], list(counts.values()))
        found = {}
        for (judge, orders), share in zip(given.items(), shares, strict=True):
            logit, first = (sum(each) / len(orders) for each in zip(*orders, strict=True))
            alone = known[judge].alone(logit, first) if logit else 0.0
            weight = known[judge].weight / total if total else 1.0 / len(given)
            found[judge] = Weighed(weight, alone * counts[judge] * share)
        return found


def pooled(accuracies: Sequence[float], counts: Sequence[float]) -> list[float]:
    """The share of each judge's log-odds alone that it adds to those of all, in (1/2, 1].

    Args:
        accuracies: of the judges of a pair.
        counts: as how many judges each counts beside those whose errors go with its own, in (0, 1].
    """
    precisions = [math.tan(math.pi * (min(max(each, 0.5), _MOST_ACCURACY) - 0.5)) ** 2 for each in accuracies]
    together = sum(count * precision for count, precision in zip(counts, precisions, strict=True))
    return [0.5 + 0.5 * math.sqrt(min(1.0, (1.0 + precision) / (1.0 + together))) for precision in precisions]


def clipped_logit(probability: float) -> float:
    """The logit, at most `MOST_LOGITS` from 0."""
    most = 1.0 / (1.0 + math.exp(-MOST_LOGITS))
    p = min(most, max(1.0 - most, probability))
    return math.log(p / (1.0 - p))
