"""Pair-quality statistics: sums over pairs and their verdicts, from which all figures of pair quality are computed.

Metrics use the sums over newly resolved pairs, the page those of a window, the report those of all pairs. Each count of
wins of longer responses has a count expected by competency: better models may write longer responses. Better
responses of one model may be longer too, which competency does not know; so an excess alone is no bias.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from karma.config.derived_streams import holds_canaries
from karma.ranking.verdict_sources import HUMAN
from karma.store.cascade_quality import CascadeQuality, comparable, is_called, unselected
from karma.store.order_quality import GAPS, calls_saved, counts_position, flip_weight, gap_bucket
from karma.store.preference_quality import PreferenceQuality, log_ratio
from karma.store.records import PairRecord, PairRow, VerdictRow
from karma.verdicts import (
    TIE_MARGIN,
    Opinion,
    a_is_better,
    agreements,
    agrees_with_competency,
    label_agreements,
    opinions,
    position,
)

#: Most pairs of a judge that are kept to tell a preference for length from quality: the newest added.
KEPT_COMPARISONS = 50_000

#: Upper bounds of the buckets of longer ÷ shorter length.
LENGTH_RATIOS = (1.1, 1.25, 1.5, 2.0, 4.0, math.inf)


class LengthComparison(NamedTuple):
    """One judge's side of a pair beside that of others. Signs are 1 for response a, −1 for b, 0 for neither."""

    prompt: int
    side: int
    others: float  # mean over the other judges that take a side, or the side of the reference
    longer: int
    favorite: float  # of competency: 2 P(a wins) − 1 when the pair was formed


@dataclass
class JudgeQuality:
    """Sums over one judge's verdicts. Preferences for a position or length are those of `unselected` ones.

    Positions count for pairs that it judged in both orders, and for the first order where that was drawn.
    """

    verdicts: int = 0
    failed: int = 0
    tokens: int = 0
    metered: int = 0  # verdicts with a token count
    ties: int = 0  # valid verdicts within the tie margin
    both_orders: float = 0  # pairs, by their weights (`order_quality`)
    flipped: float = 0  # of these pairs, those with an order flip
    first: int = 0  # verdicts for the response shown first
    second: int = 0
    longer: int = 0  # verdicts for the longer response
    shorter: int = 0
    longer_expected: float = 0.0
    by_reference: deque[LengthComparison] = field(default_factory=lambda: deque(maxlen=KEPT_COMPARISONS))
    beside_others: deque[LengthComparison] = field(default_factory=lambda: deque(maxlen=KEPT_COMPARISONS))
    compared: int = 0  # other judges that took a side of the same pair
    agreed: int = 0  # of these: the same side
    label_compared: int = 0  # pairs of several judges on which it and the label take a side
    label_agreed: int = 0
    others_compared: int = 0  # the same, where the label is that of the other judges alone
    others_agreed: int = 0


@dataclass
class LengthBucket:
    """Decisive pairs with a similar ratio of lengths."""

    pairs: int = 0
    longer: int = 0  # the longer response was chosen
    expected: float = 0.0


@dataclass
class PolicyQuality:
    """Sums over the pairs of one policy in one stream."""

    prompts: set[int] = field(default_factory=set)  # ids of those with a pair
    without_pair: int = 0
    pairs: int = 0
    judged: int = 0  # sent to a judge; the others are labeled by the prediction
    outcomes: Counter[str] = field(default_factory=Counter)  # `open` without one yet
    sources: Counter[str] = field(default_factory=Counter)  # of the labels of decisive pairs
    both_orders: float = 0  # pairs × judges, by their weights (`order_quality`)
    flipped: float = 0
    pairs_both_orders: float = 0  # pairs that any judge judged in both orders
    pairs_flipped: float = 0
    calls_saved: int = 0  # fewer than in both orders
    compared: int = 0  # pairs of judges that took a side of one pair
    agreed: int = 0
    pairs_compared: int = 0
    pairs_unanimous: int = 0
    bits: float = 0.0
    with_information: int = 0  # pairs whose expected information is known
    calls: int = 0
    tokens: int = 0
    metered: int = 0
    lengths: Counter[str] = field(default_factory=Counter)  # judged preferences: longer, shorter, equal was chosen
    longer_expected: float = 0.0
    longer_variance: float = 0.0
    by_prior: Counter[bool] = field(default_factory=Counter)  # whether competency favored the winner
    ratios: list[float] = field(default_factory=list)  # length of chosen ÷ rejected, judged preferences
    probabilities: list[float] = field(default_factory=list)  # that the chosen response is better, of the same
    log_ratios: float = 0.0  # sum of ln(chosen ÷ rejected length) over all preferences
    referenced: int = 0  # preferences with exactly one correct response by the reference
    wrong: int = 0  # of these, those that chose the incorrect response


class PairQuality:
    """Accumulates the statistics of pairs.

    Args:
        tie_margin: stream → tie margin.
        rules: judges that read no responses, so that their sides say nothing of one response.
    """

    def __init__(
        self, tie_margin: Callable[[str], float] = lambda _stream: TIE_MARGIN, rules: Collection[str] = ()
    ) -> None:
        self._tie_margin = tie_margin
        self._rules = rules
        self.judges: defaultdict[str, JudgeQuality] = defaultdict(JudgeQuality)
        self.policies: defaultdict[tuple[str, str], PolicyQuality] = defaultdict(PolicyQuality)  # by stream, policy
        self.wins: Counter[tuple[str, str]] = Counter()  # (winner, loser), judged preferences
        self.flips_by_gap: list[tuple[float, float]] = [(0, 0)] * len(GAPS)  # pairs × judges in both orders, flipped
        self.cascades: defaultdict[str, CascadeQuality] = defaultdict(CascadeQuality)  # by stream with a first judge
        self.preferences: defaultdict[tuple[str, str], PreferenceQuality] = defaultdict(PreferenceQuality)
        self.buckets = {source: [LengthBucket() for _ in LENGTH_RATIOS] for source in ("judge", "predicted")}

    def add(self, record: PairRecord) -> None:
        """Add one pair; canaries and people measure judges in figures of their own."""
        if holds_canaries(record.stream):
            return
        if any(verdict.template_hash == HUMAN for verdict in record.verdicts):
            record = replace(record, verdicts=[one for one in record.verdicts if one.template_hash != HUMAN])
        pair = record.pair
        sums = self.policies[record.stream, pair.policy]
        sums.prompts.add(pair.prompt)
        sums.pairs += 1
        sums.judged += pair.judged
        sums.outcomes[record.outcome or "open"] += 1
        if pair.judges is not None and pair.judges.first is not None:
            self.cascades[record.stream].add(record)
        if pair.information is not None:
            sums.bits += pair.information
            sums.with_information += 1
        if record.verdicts:
            self._add_verdicts(record, sums)
        if record.outcome == "decisive":
            self._add_preference(record, sums)

    def _add_verdicts(self, record: PairRecord, sums: PolicyQuality) -> None:
        margin = self._tie_margin(record.stream)
        given = opinions(record.verdicts, margin)
        both = {opinion.judge for opinion in given if opinion.both_orders}
        for verdict in record.verdicts:
            judge = self.judges[verdict.judge]
            judge.verdicts += 1
            sums.calls += 1
            if verdict.tokens_in is not None or verdict.tokens_out is not None:
                tokens = (verdict.tokens_in or 0) + (verdict.tokens_out or 0)
                judge.tokens, judge.metered = judge.tokens + tokens, judge.metered + 1
                sums.tokens, sums.metered = sums.tokens + tokens, sums.metered + 1
            if verdict.probability is None:
                judge.failed += 1
            else:
                self._add_side(judge, record.pair, verdict, verdict.judge in both, margin)
        self._add_orders(record, unselected(record.pair, given), sums)
        if len(given) > 1 or None not in (record.pair.quality_a, record.pair.quality_b):
            self._add_lengths(record.pair, given)
        given = list(comparable(record.pair, given))
        compared = agreements(given)
        for first, second, agrees in compared:
            for name in (first, second):
                self.judges[name].compared += 1
                self.judges[name].agreed += agrees
            sums.compared, sums.agreed = sums.compared + 1, sums.agreed + agrees
        for one in label_agreements(given, margin, record.weighed):
            judge = self.judges[one.judge]
            if one.with_label is not None:
                judge.label_compared, judge.label_agreed = judge.label_compared + 1, judge.label_agreed + one.with_label
            if one.with_others is not None:
                judge.others_compared += 1
                judge.others_agreed += one.with_others
        if compared:
            sums.pairs_compared += 1
            sums.pairs_unanimous += all(agrees for _first, _second, agrees in compared)

    def _add_orders(self, record: PairRecord, given: Sequence[Opinion], sums: PolicyQuality) -> None:
        """The flips of judges with both orders, and what was saved by not asking both."""
        pair, both = record.pair, [opinion for opinion in given if opinion.both_orders]
        for opinion in both:
            judge, weight = self.judges[opinion.judge], flip_weight(pair, record.verdicts, (opinion.judge,))
            flipped = weight * opinion.flipped
            judge.both_orders, judge.flipped = judge.both_orders + weight, judge.flipped + flipped
            sums.both_orders, sums.flipped = sums.both_orders + weight, sums.flipped + flipped
            if pair.gap is not None:
                counted, flips = self.flips_by_gap[place := gap_bucket(pair.gap)]
                self.flips_by_gap[place] = (counted + weight, flips + flipped)
        if both:
            weight = flip_weight(pair, record.verdicts, [opinion.judge for opinion in both])
            sums.pairs_both_orders += weight
            sums.pairs_flipped += weight * any(opinion.flipped for opinion in both)
        if record.outcome is not None:
            sums.calls_saved += calls_saved(pair, record.verdicts)

    def _add_side(
        self, judge: JudgeQuality, pair: PairRow, verdict: VerdictRow, both_orders: bool, margin: float
    ) -> None:
        assert verdict.probability is not None  # noqa: S101 - checked by the caller
        preferred = position(verdict.probability, margin)
        if preferred == "none":
            judge.ties += 1
        if preferred == "none" or is_called(pair, verdict.judge):
            return
        if counts_position(pair, verdict, both_orders):
            judge.first += preferred == "first"
            judge.second += preferred == "second"
        for_a = a_is_better(verdict.probability, verdict.shown) > 0.5
        if pair.length_a != pair.length_b:
            a_is_longer = pair.length_a > pair.length_b
            judge.longer += for_a == a_is_longer
            judge.shorter += for_a != a_is_longer
            judge.longer_expected += _win_probability(pair, a_is_longer)

    def _add_lengths(self, pair: PairRow, given: Sequence[Opinion]) -> None:
        """The sides of judges that read responses, as evidence of a preference for length."""
        sided = [one for one in given if one.side != "none" and one.judge not in self._rules]
        sides = {one.judge: 1 if one.side == "a" else -1 for one in comparable(pair, sided)}
        longer = (pair.length_a > pair.length_b) - (pair.length_a < pair.length_b)
        favorite = 2.0 * _win_probability(pair, of_a=True) - 1.0
        if pair.quality_a is not None and pair.quality_b is not None:
            right = (pair.quality_a > 0.5) - (pair.quality_b > 0.5)  # 0: both are, or neither
            for one in unselected(pair, sided):
                found = LengthComparison(pair.prompt, 1 if one.side == "a" else -1, right, longer, favorite)
                self.judges[one.judge].by_reference.append(found)
        for judge, side in sides.items():
            if len(sides) > 1:
                others = (sum(sides.values()) - side) / (len(sides) - 1)
                self.judges[judge].beside_others.append(LengthComparison(pair.prompt, side, others, longer, favorite))

    def _add_preference(self, record: PairRecord, sums: PolicyQuality) -> None:
        pair, source = record.pair, record.label_source or "judge"
        sums.sources[source] += 1
        self.preferences[record.stream, source].add(record)
        chosen, rejected, winner, loser = pair.length_a, pair.length_b, pair.model_a, pair.model_b
        if not record.a_is_chosen:
            chosen, rejected, winner, loser = rejected, chosen, loser, winner
        ratio = max(1, chosen) / max(1, rejected)
        sums.log_ratios += log_ratio(chosen, rejected)
        if (
            pair.quality_a is not None
            and pair.quality_b is not None
            and (pair.quality_a > 0.5) != (pair.quality_b > 0.5)
        ):
            sums.referenced += 1
            sums.wrong += (pair.quality_a > 0.5) != record.a_is_chosen
        if chosen != rejected:
            expected = _win_probability(pair, pair.length_a > pair.length_b)
            bucket = self.buckets[source][_bucket(max(ratio, 1.0 / ratio))]
            bucket.pairs += 1
            bucket.longer += chosen > rejected
            bucket.expected += expected
        if source != "judge":
            return
        self.wins[winner, loser] += 1
        sums.lengths["longer" if chosen > rejected else "shorter" if chosen < rejected else "equal"] += 1
        if chosen != rejected:
            sums.longer_expected += expected
            sums.longer_variance += expected * (1.0 - expected)
        sums.ratios.append(chosen / max(1, rejected))
        if record.probability is not None:
            sums.probabilities.append(max(record.probability, 1.0 - record.probability))
        by_prior = agrees_with_competency(pair.win_probability, record.a_is_chosen)
        if by_prior is not None:
            sums.by_prior[by_prior] += 1


def _win_probability(pair: PairRow, of_a: bool) -> float:
    """P(a wins), or P(b wins), by competency alone when the pair was formed; 0.5 if unknown."""
    a_wins = 0.5 if pair.win_probability is None else pair.win_probability
    return a_wins if of_a else 1.0 - a_wins


def _bucket(ratio: float) -> int:
    return next(index for index, bound in enumerate(LENGTH_RATIOS) if ratio <= bound)
