"""The jury: how much the word of each judge says of which response is better, and what several verdicts say together.

A judge's verdict enters as a log-odds: its logit times the judge's `scale` (a hard judge's logits are large and say
little, a soft one's are small and may say much). Independent verdicts add up (Good 1950, Probability and the Weighing
of Evidence, chapter 6). Judges whose errors go together count for less: n that always agree count as one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from karma.verdicts import Verdict, Weighed, a_is_better

#: Largest logit of a verdict: a probability of 0 or 1 is no surer than that.
MOST_LOGITS = 6.0


@dataclass(frozen=True)
class JudgeWeight:
    """What is known of one judge from its verdicts beside those of others."""

    scale: float  # log-odds of the label per logit of its verdict, at least 0
    offset: float = 0.0  # log-odds that one order owes to the response shown first; both orders cancel it
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
        total = sum(self.judges[judge].weight for judge in given)
        found = {}
        for judge, orders in given.items():
            known = self.judges[judge]
            logit, first = (sum(each) / len(orders) for each in zip(*orders, strict=True))
            dependent = 1.0 + sum(known.overlap.get(other, 0.0) for other in given if other != judge)
            log_odds = (known.scale * logit + known.offset * first) / dependent if logit else 0.0
            found[judge] = Weighed(known.weight / total if total else 1.0 / len(given), log_odds)
        return found


def clipped_logit(probability: float) -> float:
    """The logit, at most `MOST_LOGITS` from 0."""
    most = 1.0 / (1.0 + math.exp(-MOST_LOGITS))
    p = min(most, max(1.0 - most, probability))
    return math.log(p / (1.0 - p))
