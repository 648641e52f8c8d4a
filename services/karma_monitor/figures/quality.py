"""The quality of the pairs of one or more streams, from what is stored: yields, biases, and what the gate was worth."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from karma.config.streams import derivation
from karma.ranking.label_error import Audited, LabelError, label_error
from karma.store import Store
from karma.store.preferences import OUTCOMES
from karma_monitor.queries.pairs import ROWS_AT_ONCE, judge_calls, measured_pairs, prompt_states

#: Upper ends of the buckets of longer ÷ shorter length; the last has none.
LENGTH_RATIOS = (1.1, 1.25, 1.5, 2.0, 4.0, math.inf)


@dataclass
class PolicyTotals:
    """What the pairs came to that one policy formed in one stream."""

    prompts: set[int] = field(default_factory=set)  # with a pair
    without_pair: int = 0
    pairs: int = 0
    judged: int = 0  # sent to a judge; the others are labelled by the prediction
    outcomes: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*OUTCOMES, "open"), 0))
    predicted: int = 0  # decisive pairs whose label no judge gave
    both_orders: int = 0
    flipped: int = 0
    bits: list[float] = field(default_factory=lambda: [0.0, 0.0])  # sum and number
    log_ratios: float = 0.0  # sum over decisive pairs of ln(length of chosen ÷ of rejected)
    referenced: int = 0  # decisive pairs of which a reference says that exactly one response is right
    wrong: int = 0  # of these, those that chose the wrong one
    calls: int = 0
    tokens: int = 0
    metered: int = 0  # calls whose tokens are known

    def figures(self) -> dict[str, float | int | None]:
        """The tally as figures with their denominators; None where there is nothing to divide by."""
        prompts = len(self.prompts) + self.without_pair
        resolved = self.pairs - self.outcomes["open"]
        decisive = self.outcomes["decisive"]
        return {
            "prompts": prompts,
            "without_pair": self.without_pair,
            "pairs": self.pairs,
            "judged_pairs": self.judged,
            "judge_calls": self.calls,
            "judge_tokens": self.tokens if self.metered else None,
            **self.outcomes,
            "predicted": self.predicted,
            "decisive_per_prompt": _ratio(decisive, prompts),
            "decisive_per_call": _ratio(decisive, self.calls),
            "bits_per_pair": _ratio(*self.bits),
            "bits_per_call": _ratio(self.bits[0], self.calls),
            "tie_share": _ratio(self.outcomes["tie"], resolved),
            "inconsistent_share": _ratio(self.outcomes["inconsistent"], resolved),
            "flip_share": _ratio(self.flipped, self.both_orders),
            "length_ratio": math.exp(self.log_ratios / decisive) if decisive else None,
            "referenced": self.referenced,
            "label_error": _ratio(self.wrong, self.referenced),
        }


@dataclass
class LengthBucket:
    """Decisive pairs whose lengths differ by about the same ratio."""

    pairs: int = 0
    longer: int = 0  # chose the longer response
    expected: float = 0.0  # sum of the chances that competency alone gave the longer one


@dataclass
class Spending:
    """What a stream's gate spent and what its audit says."""

    pairs: int = 0
    judged: int = 0
    audited: list[Audited] = field(default_factory=list)
    limited: bool = False  # whether any pair might have been left unjudged

    @property
    def judged_share(self) -> float:
        """Share of the pairs that went to a judge."""
        return self.judged / self.pairs

    @property
    def error(self) -> LabelError | None:
        """The audited error of the labels that no judge saw."""
        return label_error(self.audited, self.pairs - self.judged)


@dataclass
class Quality:
    """Everything measured in one pass over the pairs."""

    tallies: dict[tuple[str, str], PolicyTotals] = field(
        default_factory=lambda: defaultdict(PolicyTotals)
    )  # (stream, policy)
    wins: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))  # (winner, loser), judged
    lengths: dict[str, list[LengthBucket]] = field(
        default_factory=lambda: {source: [LengthBucket() for _ in LENGTH_RATIOS] for source in ("judge", "predicted")}
    )
    spending: dict[str, Spending] = field(default_factory=lambda: defaultdict(Spending))  # stream
    positions: dict[str, tuple[int, int]] = field(default_factory=dict)  # judge → wins of first and of second shown

    def add(self, row: Any) -> None:
        """Take in one pair (`measured_pairs`)."""
        tally = self.tallies[row.stream, row.policy]
        tally.prompts.add(row.prompt)
        tally.pairs += 1
        tally.judged += row.judged
        tally.outcomes[row.outcome or "open"] += 1
        if row.information is not None:
            tally.bits[0] += row.information
            tally.bits[1] += 1
        if row.flipped is not None:
            tally.both_orders += 1
            tally.flipped += row.flipped
        spending = self.spending[row.stream]
        spending.pairs += 1
        spending.judged += row.judged
        spending.limited |= row.judged_probability < 1.0
        if row.outcome == "decisive":
            self._add_preference(row, tally)

    def _add_preference(self, row: Any, tally: PolicyTotals) -> None:
        a_is_chosen = row.chosen == row.response_a
        tally.predicted += row.label_source == "predicted"
        chosen, rejected = (row.length_a, row.length_b) if a_is_chosen else (row.length_b, row.length_a)
        tally.log_ratios += math.log(max(1, chosen) / max(1, rejected))
        if row.quality_a is not None and row.quality_b is not None and (row.quality_a > 0.5) != (row.quality_b > 0.5):
            tally.referenced += 1
            tally.wrong += (row.quality_a > 0.5) != a_is_chosen
        if chosen != rejected:
            self._add_length(row, chosen, rejected)
        if row.label_source == "judge":
            winner, loser = (row.model_a, row.model_b) if a_is_chosen else (row.model_b, row.model_a)
            self.wins[winner, loser] += 1
            if row.judged_probability < 1.0 and row.predicted is not None:
                wrong = (row.predicted > 0.5) != a_is_chosen
                self.spending[row.stream].audited.append(Audited(row.judged_probability, wrong, row.prompt))

    def _add_length(self, row: Any, chosen: int, rejected: int) -> None:
        ratio = max(chosen, rejected) / max(1, min(chosen, rejected))
        place = next(place for place, end in enumerate(LENGTH_RATIOS) if ratio <= end)
        bucket = self.lengths[row.label_source][place]
        bucket.pairs += 1
        bucket.longer += chosen > rejected
        a_wins = json.loads(row.reasons).get("win_probability")
        a_wins = 0.5 if a_wins is None else a_wins
        bucket.expected += a_wins if row.length_a > row.length_b else 1.0 - a_wins


def measure(store: Store, streams: Sequence[str] | None = None) -> Quality:
    """Measure the pairs of the named streams, or of all."""
    quality = Quality()
    after = 0
    while True:
        with store.reading() as transaction:
            rows = measured_pairs(transaction.ledger.connection, after, streams)
        for row in rows:
            quality.add(row)
        if len(rows) < ROWS_AT_ONCE:
            break
        after = rows[-1].id
    with store.reading() as transaction:
        calls = judge_calls(transaction.ledger.connection, streams)
        states = prompt_states(transaction.ledger.connection, streams)
    for one in calls:
        tally = quality.tallies[one.stream, one.policy]
        tally.calls += one.calls
        tally.tokens += one.tokens_in + one.tokens_out
        tally.metered += one.metered
        first, second = quality.positions.get(one.judge, (0, 0))
        quality.positions[one.judge] = (first + one.first, second + one.second)
    for one in states:
        if one.without_pair:
            quality.tallies[one.stream, _policy(quality, one.stream)].without_pair += one.without_pair
    return quality


def _policy(quality: Quality, stream: str) -> str:
    """The policy to which a stream's prompts without a pair are put down: its own, or that of most of its pairs."""
    derived = derivation(stream)
    if derived is not None:
        return derived.policy
    found = {policy: tally.pairs for (name, policy), tally in quality.tallies.items() if name == stream}
    return max(found, key=lambda policy: found[policy]) if found else "none"


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
