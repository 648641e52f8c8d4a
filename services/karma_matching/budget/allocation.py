"""Allocation of the judge budget: decides which pairs are judged.

A pair is judged with certainty if its expected information is above a threshold that follows from the budget, and with
the audit's probability otherwise. Every probability is recorded, and none is zero. The threshold is a quantile of the
expected information of recent pairs. The store has it as a histogram, so that a decision can be repeated later. A limit
on the label error adds a ceiling: pairs with more expected information are judged, whatever the budget says.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from karma.ranking.outcome_model import UNPREDICTED

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

_BINS = 200  # of information, over [0, 1] bit
_MEMORY = 4000.0  # pairs that the histogram remembers
_LEAST_SEEN = 50.0  # pairs before a threshold is read from it
_HORIZON = 500.0  # pairs within which a surplus or deficit of judged pairs is compensated
_MOST_COMPENSATION = 0.2  # of the share, at a time: a surplus never stops judging
_HOUR_S = 3600.0


@dataclass(frozen=True)
class Budget:
    """Limits on judging. Without a share and calls per hour all pairs are judged."""

    judge_share: float | None = None  # of pairs
    calls_per_hour: float | None = None
    audit_share: float = 0.03  # of pairs below the threshold
    calls_per_pair: int = 1


@dataclass(frozen=True)
class Decision:
    """Whether a pair is judged, and why."""

    judged: bool
    probability: float  # of being judged; recorded, never zero
    information: float  # expected bits beyond those from verdicts on the prompt's other pairs
    why: str


@dataclass(frozen=True)
class BudgetState:
    """State of a stream's budget: the pairs seen and judged so far."""

    seen: int = 0  # pairs
    judged: int = 0
    allowed: float = 0.0  # pairs that the budget allowed to judge
    histogram: tuple[float, ...] = (0.0,) * _BINS
    hour_began: float = 0.0  # seconds since 1970
    hour_seen: float = 0.0
    hour_judged: float = 0.0
    last_hour_seen: float = 0.0

    def to_json(self) -> str:
        """For the store."""
        return json.dumps(asdict(self) | {"histogram": [round(count, 3) for count in self.histogram]})

    @classmethod
    def from_json(cls, text: str | None) -> BudgetState:
        """From the store; a new state if there is none."""
        if text is None:
            return cls()
        state: dict[str, Any] = json.loads(text)
        return cls(**{**state, "histogram": tuple(state["histogram"])})


def judged_share(budget: Budget, state: BudgetState, now: float) -> float:
    """The share of the next pairs to be judged, audits included, in (0, 1].

    A surplus or deficit of judged pairs is compensated within a few hundred pairs, by at most a fifth of the share at a
    time.
    """
    target = target_share(budget, state, now)
    most = _MOST_COMPENSATION * target
    return min(1.0, target + max(-most, min(most, (state.allowed - state.judged) / _HORIZON)))


def target_share(budget: Budget, state: BudgetState, now: float) -> float:
    """The share that follows from the budget, in (0, 1]; see `judged_share`."""
    share = 1.0 if budget.judge_share is None else budget.judge_share
    if budget.calls_per_hour is not None:
        elapsed = min(max(now - state.hour_began, 0.0), _HOUR_S)
        left = max(0.0, budget.calls_per_hour / budget.calls_per_pair - state.hour_judged)
        rate = max(state.hour_seen / max(elapsed, 60.0), state.last_hour_seen / _HOUR_S)
        coming = max(rate * (_HOUR_S - elapsed), 1.0)
        share = min(share, left / coming)
    return share


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
    state = _within_hour(state, now)
    share = judged_share(budget, state, now)
    audit = budget.audit_share
    certain = 1.0 if share >= 1.0 else max(0.0, share - audit) / (1.0 - audit) if audit < 1.0 else 0.0
    threshold, at_threshold = _threshold(state, certain)
    decisions: dict[int, Decision] = {}
    beyond = 0.0  # pairs that the limit on the label error adds; the budget does not compensate for them
    bins = np.minimum((np.clip(information, 0.0, 1.0) * _BINS).astype(np.intp), _BINS - 1)
    for pair, bits, bin_ in zip(order.tolist(), information.tolist(), bins.tolist(), strict=True):
        above = 1.0 if bin_ > threshold else at_threshold if bin_ == threshold else 0.0
        probability = above + (1.0 - above) * audit
        why = "informative enough" if above == 1.0 else "at the threshold" if above > 0.0 else "audit"
        if bits > ceiling and probability < 1.0:
            beyond += 1.0 - probability
            probability, why = 1.0, "the label might be wrong"
        judged = rng.random() < probability
        decisions[pair] = Decision(judged, probability, bits, why if judged else "the prediction is good enough")
    allowed = target_share(budget, state, now) * len(decisions) + beyond
    state = _after(state, bins, len(decisions), sum(decision.judged for decision in decisions.values()), allowed)
    return [decisions[pair] for pair in range(len(decisions))], state


def judge_all(information: Sequence[float], state: BudgetState, now: float) -> tuple[list[Decision], BudgetState]:
    """Without an outcome model all pairs are judged; later pairs do not compensate for them.

    Args:
        information: expected information of the pairs by competency alone, bits.
        state: the budget's state.
        now: seconds since 1970.
    """
    state, count = _within_hour(state, now), len(information)
    decisions = [Decision(True, 1.0, bits, UNPREDICTED) for bits in information]
    return decisions, _after(state, np.zeros(0, dtype=np.intp), count, count, allowed=float(count))


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


def _within_hour(state: BudgetState, now: float) -> BudgetState:
    if now - state.hour_began < _HOUR_S:
        return state
    follows = now - state.hour_began < 2 * _HOUR_S
    return replace(
        state,
        hour_began=now,
        hour_seen=0.0,
        hour_judged=0.0,
        last_hour_seen=state.hour_seen if follows else 0.0,
    )


def _after(state: BudgetState, bins: Indices, number: int, judged: int, allowed: float) -> BudgetState:
    histogram = np.array(state.histogram) + np.bincount(bins, minlength=_BINS)
    histogram *= min(1.0, _MEMORY / max(histogram.sum(), 1.0))
    return replace(
        state,
        seen=state.seen + number,
        judged=state.judged + judged,
        allowed=state.allowed + allowed,
        histogram=tuple(histogram.tolist()),
        hour_seen=state.hour_seen + number,
        hour_judged=state.hour_judged + judged,
    )
