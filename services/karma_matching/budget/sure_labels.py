"""The judge budget of gap pairs: labels by prediction where the posterior is sure, judge calls where it is not.

A pair is *sure* where P(better | decisive) under the posterior, with its deviation, reaches a threshold, and no tie is
likely. Sure pairs are labeled; an audit judges a share of them from the first one on. Pairs that are not sure are
judged while calls are left: a first number, later a share of all pairs, spread over them. The rest keeps a weak
prediction that is no label. Every probability of being judged is recorded, and none is zero unless an hourly limit is
spent.

The threshold is a quantile of recent pairs between a floor and `label_at`, so that most pairs can be labeled where the
models are hard to tell apart. One ordered pair of models (chosen, rejected) can only be a part of the preferences:
data of one fixed pair teaches what sets these two models apart, whatever the prompts ask for.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from karma.config.goals import LEAST_MODELS, LEAST_SURE
from karma_matching.budget.allocation import Decision, drawn
from karma_matching.budget.gap_pairs import GapPair

#: Pairs that are judged while they are not sure, before the share of the budget holds.
START = 100

_LIKELY_TIE = 0.2  # P(tie) above which no pair is labeled
_MET = 1.0  # verdicts on the two models in the skill, without which no pair is sure before the start is judged
_LABELED = 0.8  # of recent pairs without a likely tie: the share that the threshold lets through
_BINS = 100  # of P(better | decisive), over [.5, 1]
_MEMORY = 300.0  # pairs that the histogram remembers
_LEAST_SEEN = 50.0  # pairs before the threshold adapts
_HORIZON = 5.0  # judged pairs too many or too few are compensated within so many pairs that are not sure
_LEAST_UNSURE = 0.05  # share of pairs
_PAIR_SHARE, _PAIR_RATIO = 0.15, 1.5  # of an ordered pair among the preferences: a share, or times its even share
_TARGET_SHARE = 0.5  # the same where every pair holds the target
_REMEMBERED = 1000.0  # preferences
_FEW = 100.0  # preferences, as which fewer count
_OFFERED = 0.5  # of the preferences that there could be: as which fewer count

#: Why a pair is labeled.
SURE = "sure enough to label"
#: Why a pair is judged.
UNSURE = "not sure enough to label"
#: Why a pair is neither judged nor labeled.
NO_CALL = "not sure enough to label, and no judge call was left"
TIE = "a tie is likely"
ENOUGH = "enough preferences of one of these two models over the other"


@dataclass(frozen=True)
class SureRule:
    """The settings of a stream that decide what is sure and what is judged."""

    label_at: float = 0.9  # P(better | decisive)
    judge_share: float = 0.2  # of pairs, audits included
    audit_share: float = 0.05  # of sure pairs
    models: int = 0  # of which verdicts are known
    target: bool = False  # whether every pair includes one model

    @property
    def most_of_one(self) -> float:
        """The largest share of one ordered pair of models among the preferences.

        The even share is that of pairs of one of two good models and one of the lower half, as `wide-gap` forms them:
        where all prompts rank the models alike, no others are sure. A target is on one side of every pair, and nearly
        always on the same one, so that only as many ordered pairs as it has opponents occur at all.
        """
        if self.target:
            return _TARGET_SHARE
        return min(1.0, max(_PAIR_SHARE, _PAIR_RATIO / (2 * max(1, self.models - max(2, self.models // 2)))))


@dataclass
class SureState:
    """State of a stream's budget of gap pairs. Earlier versions had none: it starts empty."""

    seen: int = 0  # pairs
    judged: int = 0  # pairs, without those that a limit on the label error adds
    histogram: list[float] = field(
        default_factory=lambda: [0.0] * _BINS
    )  # of recent pairs' certainty, likely ties left out
    preferences: dict[tuple[str, str], float] = field(default_factory=dict)  # (chosen, rejected) → recent number
    offered: float = 0.0  # the same of all, with those that were left out because there were enough

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "seen": self.seen,
            "judged": self.judged,
            "histogram": [round(count, 3) for count in self.histogram],
            "preferences": [[*models, round(number, 3)] for models, number in sorted(self.preferences.items())],
            "offered": round(self.offered, 3),
        }

    @classmethod
    def from_json(cls, text: str | None) -> SureState:
        """From a stored judge budget; a new state where it has none."""
        state = json.loads(text).get("sure") if text else None
        if state is None:
            return cls()
        preferences = {(chosen, rejected): number for chosen, rejected, number in state["preferences"]}
        offered = state.get("offered", sum(preferences.values()))  # earlier versions did not count those left out
        return cls(state["seen"], state["judged"], state["histogram"], preferences, offered)

    def copy(self) -> SureState:
        """A state of its own."""
        return SureState(self.seen, self.judged, [*self.histogram], {**self.preferences}, self.offered)

    def add_certainty(self, certainty: float) -> None:
        """Count one more pair without a likely tie; older ones fade."""
        fading = min(1.0, _MEMORY / (sum(self.histogram) + 1.0))
        self.histogram[min(_BINS - 1, int((certainty - 0.5) * 2 * _BINS))] += 1.0
        if fading < 1.0:
            self.histogram = [count * fading for count in self.histogram]

    def add_preferences(self, pair: GapPair, decision: Decision, enough: bool) -> None:
        """Count a label, what a verdict is expected to add, or one left out; older ones fade."""
        offered, preferences = self.offered, self.preferences
        if decision.judged:
            decisive = 1.0 - pair.tie
            for models, win in (((pair.model_a, pair.model_b), pair.win), ((pair.model_b, pair.model_a), 1 - pair.win)):
                preferences[models] = preferences.get(models, 0.0) + decisive * win
            offered += decisive or 1.0
        elif decision.sure:
            preferences[pair.ordered] = preferences.get(pair.ordered, 0.0) + 1.0
            offered += 1.0
        elif enough:
            offered += 1.0
        else:
            return
        fading = min(1.0, _REMEMBERED / max(1.0, offered))
        self.offered = offered * fading
        if fading < 1.0:
            self.preferences = {
                models: number * fading for models, number in preferences.items() if number * fading >= 0.001
            }


def threshold(state: SureState, label_at: float) -> float:
    """P(better | decisive) from which on pairs are sure: `label_at`, or less where too few recent pairs reach it."""
    total = sum(state.histogram)
    if total < _LEAST_SEEN:
        return label_at
    below = (1.0 - _LABELED) * total
    for bin_, count in enumerate(state.histogram):
        if below < count:
            return min(label_at, max(LEAST_SURE, 0.5 + 0.5 * (bin_ + below / count) / _BINS))
        below -= count
    return label_at


def unsure_probability(rule: SureRule, state: SureState, least: float) -> float:
    """The probability of judging the next pair that is not sure; 0 where no call is left.

    After the start, the calls are spread so that they last: audits of sure pairs take their part of the share, and what
    is left is divided among the pairs that are not sure.

    Args:
        rule: the stream's settings.
        state: with the pair counted as seen.
        least: the present threshold.
    """
    due = rule.judge_share * state.seen
    if max(START, due) - state.judged < 1.0:
        return 0.0
    if state.judged < START and due < START:
        return 1.0
    total = sum(state.histogram)
    below = sum(state.histogram[: int((least - 0.5) * 2 * _BINS)])
    unsure = max(_LEAST_UNSURE, below / total if total else 1.0)
    left = rule.judge_share - rule.audit_share * (1.0 - unsure)
    return min(1.0, max(0.0, (due - state.judged) / _HORIZON + left / unsure))


def label_or_judge(
    pairs: Sequence[GapPair],
    rule: SureRule,
    state: SureState,
    rng: random.Random,
    ceiling: float = math.inf,
    affordable: float = 1.0,
    left: float = math.inf,
) -> tuple[list[Decision], SureState]:
    """Decide about a prompt's pairs, in their order.

    Args:
        pairs: of one prompt.
        rule: the stream's settings.
        state: of the stream.
        rng: the prompt's random numbers.
        ceiling: labels with more information than this are judged, bits: a limit on the label error goes before the
            budget.
        affordable: share of the pairs that an hourly limit lets be judged.
        left: pairs that it lets be judged now.

    Returns:
        One decision per pair, and the next state.
    """
    decisions = []
    state = state.copy()
    for pair in pairs:
        likely_tie = pair.tie > _LIKELY_TIE
        state.seen += 1
        if not likely_tie:
            state.add_certainty(pair.certainty)
        least = threshold(state, rule.label_at)
        certain = rule.models >= LEAST_MODELS and pair.model_a != pair.model_b and pair.certainty >= least
        # Early on, what is concluded from other models and skills was wrong twice as often as stated.
        certain = certain and not likely_tie and (pair.met >= _MET or state.judged >= START)
        enough = certain and _has_enough(rule, state, pair.ordered)
        sure = certain and not enough
        counted = True
        if sure and pair.information > ceiling:
            probability, why, why_not, counted = 1.0, "the label might be wrong", SURE, False
        elif sure:
            probability, why, why_not = rule.audit_share, "audit", SURE
        elif enough or (likely_tie and state.judged >= START):
            probability = rule.audit_share
            why = why_not = ENOUGH if enough else TIE
        else:
            probability = max(rule.audit_share, unsure_probability(rule, state, least))
            why, why_not = UNSURE, NO_CALL
        decision = drawn(min(probability, affordable), pair.information, why, why_not, left, rng, sure)
        left -= decision.judged
        decisions.append(decision)
        state.judged += decision.judged and counted
        state.add_preferences(pair, decision, enough)
    return decisions, state


def _has_enough(rule: SureRule, state: SureState, ordered: tuple[str, str]) -> bool:
    """Whether one more preference of these two models would make them too large a part of the recent ones.

    At least half of all that could have been preferences counts as the whole: otherwise a few ordered pairs that are
    all there is would stop each other for good.
    """
    total = max(_FEW, sum(state.preferences.values()) + 1.0, _OFFERED * state.offered)
    return state.preferences.get(ordered, 0.0) + 1.0 > rule.most_of_one * total
