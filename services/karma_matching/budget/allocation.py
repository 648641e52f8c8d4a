"""The gate: which pairs are worth a judge, under a budget.

A pair is judged for certain where its information is above a threshold that is moved so that the budget is kept, and
with the audit's probability below it; every probability is recorded and none is zero. The threshold is read from the
recent pairs' information, kept as a histogram in the store, so that a decision can be made again from what is stored.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

_BINS = 200  # of information, over [0, 1] bit
_MEMORY = 4000.0  # pairs that the histogram remembers
_LEAST_SEEN = 50.0  # pairs before a threshold is read from it
_HORIZON = 500.0  # pairs within which what was over- or underspent is made good
_MOST_MADE_GOOD = 0.2  # of the share, at a time: a debt never starves what comes next
_HOUR_S = 3600.0


@dataclass(frozen=True)
class Budget:
    """What may be spent on judging. Without a share and without calls an hour everything is judged."""

    judge_share: float | None = None  # of pairs
    calls_per_hour: float | None = None
    audit_share: float = 0.03  # of pairs below the threshold
    max_label_error: float | None = None  # share of wrong labels among those that no judge saw
    calls_per_pair: int = 1


@dataclass(frozen=True)
class Decision:
    """What the gate decided about a pair."""

    judged: bool
    probability: float  # of being judged; recorded, never zero
    information: float  # bits, with what the verdicts on its siblings are expected to tell taken off
    why: str


@dataclass(frozen=True)
class BudgetState:
    """What a stream's gate has seen and spent."""

    seen: int = 0  # pairs
    judged: int = 0
    allowed: float = 0.0  # pairs that were to be judged
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
        """From the store; a new one where there is none."""
        if text is None:
            return cls()
        found: dict[str, Any] = json.loads(text)
        return cls(**{**found, "histogram": tuple(found["histogram"])})


def judged_share(budget: Budget, state: BudgetState, label_error: float | None, now: float) -> float:
    """The share of the next pairs to be judged, audits included, in (0, 1].

    What was spent too much or too little is made good within a few hundred pairs, though never by more than a fifth of
    the share. Above `max_label_error` the gate widens: of the labels that no judge sees, only so many are left that the
    wrong ones fall to the limit if all of them err alike (the closest err most, so it is enough).
    """
    target = target_share(budget, state, label_error, now)
    debt = max(-_MOST_MADE_GOOD * target, min(_MOST_MADE_GOOD * target, (state.allowed - state.judged) / _HORIZON))
    return min(1.0, target + debt)


def target_share(budget: Budget, state: BudgetState, label_error: float | None, now: float) -> float:
    """The share that the budget and the labels' error ask for, in (0, 1]; see `judged_share`."""
    share = 1.0 if budget.judge_share is None else budget.judge_share
    if budget.calls_per_hour is not None:
        elapsed = min(max(now - state.hour_began, 0.0), _HOUR_S)
        left = max(0.0, budget.calls_per_hour / budget.calls_per_pair - state.hour_judged)
        rate = max(state.hour_seen / max(elapsed, 60.0), state.last_hour_seen / _HOUR_S)
        coming = max(rate * (_HOUR_S - elapsed), 1.0)
        share = min(share, left / coming)
    if budget.max_label_error is not None and label_error is not None and label_error > budget.max_label_error:
        share = 1.0 - (1.0 - share) * budget.max_label_error / label_error
    return share


def decide(
    order: Indices,
    information: Array,
    budget: Budget,
    state: BudgetState,
    label_error: float | None,
    rng: random.Random,
    now: float,
) -> tuple[list[Decision], BudgetState]:
    """Decide about a prompt's pairs, given in the order and with the information of `worth.expected_information`.

    Returns:
        One decision a pair, in the pairs' own order, and the gate's next state.
    """
    state = _within_hour(state, now)
    share = judged_share(budget, state, label_error, now)
    audit = budget.audit_share
    certain = 1.0 if share >= 1.0 else max(0.0, share - audit) / (1.0 - audit) if audit < 1.0 else 0.0
    threshold, at_threshold = _threshold(state, certain)
    decisions: list[Decision | None] = [None] * len(order)
    bins = np.minimum((np.clip(information, 0.0, 1.0) * _BINS).astype(np.intp), _BINS - 1)
    for place, bits, bin_ in zip(order.tolist(), information.tolist(), bins.tolist(), strict=True):
        above = 1.0 if bin_ > threshold else at_threshold if bin_ == threshold else 0.0
        probability = above + (1.0 - above) * audit
        judged = rng.random() < probability
        why = "informative enough" if above == 1.0 else "at the threshold" if above > 0.0 else "audit"
        decisions[place] = Decision(judged, probability, bits, why if judged else "the prediction is good enough")
    settled = [decision for decision in decisions if decision is not None]
    allowed = target_share(budget, state, label_error, now) * len(settled)
    return settled, _after(state, bins, len(settled), sum(decision.judged for decision in settled), allowed)


def judge_all(information: Sequence[float], state: BudgetState, now: float) -> tuple[list[Decision], BudgetState]:
    """Without an outcome model everything is judged; it is not held against what comes after.

    Args:
        information: of the pairs by the competencies alone, bits.
        state: of the gate.
        now: seconds since 1970.
    """
    state, count = _within_hour(state, now), len(information)
    decisions = [Decision(True, 1.0, bits, "too little is known to predict") for bits in information]
    return decisions, _after(state, np.zeros(0, dtype=np.intp), count, count, allowed=float(count))


def _threshold(state: BudgetState, certain: float) -> tuple[int, float]:
    """The bin in which the upper `certain` share of recent pairs begins, and how much of that bin belongs to it."""
    total = sum(state.histogram)
    if total < _LEAST_SEEN:
        return -1, certain  # nothing is above it for certain: everything is judged until there is something to go by
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
