"""Allocation of the judge budget: decides which pairs are judged.

A pair is judged with certainty if its expected information is above a threshold that follows from the budget, and with
the audit's probability otherwise. Every probability is recorded, and none is zero unless the hour's calls are spent.
The threshold is a quantile of the expected information of recent pairs. The store has it as a histogram, so that a
decision can be repeated later. A limit on the label error adds a ceiling: pairs with more expected information are
judged, whatever the budget's share says.

An hourly limit on calls holds in any 60 minutes, with audits and with pairs that nothing can predict yet. While it
binds, it goes before all else: the judged share follows from it (`JudgeCalls.affordable_share`), and at most half of
that share is the audit's.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from karma.ranking.judge_calls import JudgeCalls
from karma.ranking.outcome_model import UNPREDICTED

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

_BINS = 200  # of information, over [0, 1] bit
_MEMORY = 4000.0  # pairs that the histogram remembers
_LEAST_SEEN = 50.0  # pairs before a threshold is read from it
_HORIZON = 500.0  # pairs within which a surplus or deficit of judged pairs is compensated
_MOST_COMPENSATION = 0.2  # of the share, at a time: a surplus never stops judging
_HOUR_S = 3600.0
_MOST_AUDITED = 0.5  # of the share that the hourly limit allows

#: Why a pair is not judged although its turn had come.
SPENT = "the hour's judge calls are spent"
#: Why a pair is not judged that nothing can predict yet.
LIMITED = "the hour's judge calls are spread over its pairs"


@dataclass(frozen=True)
class Budget:
    """Limits on judging. Without a share and calls per hour all pairs are judged."""

    judge_share: float | None = None  # of pairs
    calls_per_hour: float | None = None  # in any 60 minutes
    audit_share: float = 0.03  # of pairs below the threshold
    calls_per_pair: int = 1


@dataclass(frozen=True)
class Decision:
    """Whether a pair is judged, and why."""

    judged: bool
    probability: float  # of being judged; recorded, zero only where the hour's calls are spent
    information: float  # expected bits beyond those from verdicts on the prompt's other pairs
    why: str
    sure: bool | None = None  # whether the prediction is a label; None: exports ask for its probability


@dataclass(frozen=True)
class BudgetState:
    """State of a stream's budget: the pairs seen and judged so far."""

    seen: int = 0  # pairs
    judged: int = 0
    allowed: float = 0.0  # pairs that the budget allowed to judge
    histogram: tuple[float, ...] = (0.0,) * _BINS
    recent: JudgeCalls = field(default_factory=JudgeCalls)

    def to_json(self, **more: Any) -> str:
        """For the store, with `more` that others keep there."""
        histogram = [round(count, 3) for count in self.histogram]
        return json.dumps(vars(self) | {"histogram": histogram, "recent": self.recent.minutes, **more})

    @classmethod
    def from_json(cls, text: str | None, calls_per_pair: int = 1) -> BudgetState:
        """From the store; a new state if there is none. `calls_per_pair` is for states of earlier versions."""
        if text is None:
            return cls()
        state: dict[str, Any] = json.loads(text)
        recent = JudgeCalls.of(state["recent"]) if "recent" in state else _of_clock_hour(state, calls_per_pair)
        histogram = tuple(state["histogram"])
        return cls(state["seen"], state["judged"], state["allowed"], histogram, recent)


def _of_clock_hour(state: dict[str, Any], calls_per_pair: int) -> JudgeCalls:
    """Earlier versions counted from an hour's first pair; all of its calls count as made in the hour's last minute."""
    if not state.get("hour_seen"):
        return JudgeCalls()
    last_s = state["hour_began"] + _HOUR_S - 1.0
    return JudgeCalls().with_new(last_s, int(state["hour_seen"]), int(state["hour_judged"]) * calls_per_pair)


def judged_share(budget: Budget, state: BudgetState) -> float:
    """The share of the next pairs to be judged, audits included, in (0, 1].

    A surplus or deficit of judged pairs is compensated within a few hundred pairs, by at most a fifth of the share at a
    time.
    """
    target = 1.0 if budget.judge_share is None else budget.judge_share
    most = _MOST_COMPENSATION * target
    return min(1.0, target + max(-most, min(most, (state.allowed - state.judged) / _HORIZON)))


def decide(
    order: Indices,
    information: Array,
    budget: Budget,
    state: BudgetState,
    ceiling: float,
    rng: random.Random,
    now: float,
) -> tuple[list[Decision], BudgetState]:
    """Decide about a prompt's pairs.

    Args:
        order: order of the pairs by `expected_information`.
        information: expected information of the pair at each rank, bits.
        budget: the stream's budget.
        state: its state.
        ceiling: pairs with more expected information than this are judged, bits; `math.inf` without a limit on the
            label error, and `-math.inf` where no label is known to keep it.
        rng: the prompt's random numbers.
        now: seconds since 1970.

    Returns:
        One decision per pair, in the pairs' own order, and the budget's next state.
    """
    affordable, left, state = arrived(budget, state, len(information), now)
    share = min(judged_share(budget, state), affordable)
    audit = budget.audit_share if affordable >= 1.0 else min(budget.audit_share, _MOST_AUDITED * affordable)
    certain = 1.0 if share >= 1.0 else max(0.0, share - audit) / (1.0 - audit) if audit < 1.0 else 0.0
    threshold, at_threshold = _threshold(state, certain)
    if threshold < 0 and affordable < 1.0:  # no threshold is known yet, and not all can be judged: draw at random
        threshold, audit = _BINS, share
    decisions: dict[int, Decision] = {}
    beyond = 0.0  # pairs that the limit on the label error adds; the budget does not compensate for them
    bins = np.minimum((np.clip(information, 0.0, 1.0) * _BINS).astype(np.intp), _BINS - 1)
    for pair, bits, bin_ in zip(order.tolist(), information.tolist(), bins.tolist(), strict=True):
        above = 1.0 if bin_ > threshold else at_threshold if bin_ == threshold else 0.0
        probability = above + (1.0 - above) * audit
        why = "informative enough" if above == 1.0 else "at the threshold" if above > 0.0 else "audit"
        if bits > ceiling and probability < 1.0 <= affordable:
            beyond += 1.0 - probability
            probability, why = 1.0, "the label might be wrong"
        decisions[pair] = drawn(probability, bits, why, "the prediction is good enough", left, rng)
        left -= decisions[pair].judged
    judged = sum(decision.judged for decision in decisions.values())
    target = 1.0 if budget.judge_share is None else budget.judge_share
    allowed = min(target, affordable) * len(decisions) + beyond
    state = after(budget, state, bins, len(decisions), judged, allowed, now)
    return [decisions[pair] for pair in range(len(decisions))], state


def judge_all(
    information: Sequence[float], budget: Budget, state: BudgetState, rng: random.Random, now: float
) -> tuple[list[Decision], BudgetState]:
    """Without an outcome model all pairs are judged that the hourly limit affords; later pairs do not compensate.

    Args:
        information: expected information of the pairs by competency alone, bits.
        budget: the stream's budget.
        state: its state.
        rng: the prompt's random numbers.
        now: seconds since 1970.
    """
    affordable, left, state = arrived(budget, state, len(information), now)
    decisions = []
    for bits in information:
        decision = drawn(affordable, bits, UNPREDICTED, LIMITED, left, rng)
        left -= decision.judged
        decisions.append(decision)
    judged = sum(decision.judged for decision in decisions)
    none = np.zeros(0, dtype=np.intp)
    return decisions, after(budget, state, none, len(decisions), judged, float(judged), now)


def drawn(
    probability: float,
    bits: float,
    why: str,
    why_not: str,
    left: float,
    rng: random.Random,
    sure: bool | None = None,
) -> Decision:
    """Judged with this probability, unless no more pairs are `left` to this hour."""
    number = rng.random()
    if left < 1.0:
        return Decision(False, 0.0, bits, SPENT, sure)
    judged = number < probability
    return Decision(judged, probability, bits, why if judged else why_not, sure)


def arrived(budget: Budget, state: BudgetState, number: int, now: float) -> tuple[float, float, BudgetState]:
    """The share of pairs that the hourly limit affords and how many now, and the state with these pairs counted."""
    if budget.calls_per_hour is None:
        return 1.0, math.inf, state
    limit, each = budget.calls_per_hour, budget.calls_per_pair
    recent = state.recent.with_new(now, number, 0)
    share = recent.affordable_share(limit, each, now)
    return share, recent.affordable_pairs(limit, each), replace(state, recent=recent)


def _threshold(state: BudgetState, certain: float) -> tuple[int, float]:
    """The bin in which the upper `certain` share of recent pairs begins, and how much of that bin belongs to it."""
    total = sum(state.histogram)
    if total < _LEAST_SEEN:
        return -1, certain  # all pairs are judged until the histogram has enough pairs
    wanted = certain * total
    for bin_ in range(_BINS - 1, -1, -1):
        count = state.histogram[bin_]
        if wanted < count:
            return bin_, wanted / count
        wanted -= count
    return -1, 1.0


def after(
    budget: Budget, state: BudgetState, bins: Indices, number: int, judged: int, allowed: float, now: float
) -> BudgetState:
    """The state after decisions about `number` pairs whose expected information is in these bins of the histogram."""
    histogram = state.histogram
    if len(bins):
        counts = np.array(histogram) + np.bincount(bins, minlength=_BINS)
        histogram = tuple((counts * min(1.0, _MEMORY / max(counts.sum(), 1.0))).tolist())
    recent = state.recent.with_new(now, 0, judged * budget.calls_per_pair) if budget.calls_per_hour else state.recent
    return BudgetState(state.seen + number, state.judged + judged, state.allowed + allowed, histogram, recent)
