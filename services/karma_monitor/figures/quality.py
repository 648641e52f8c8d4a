"""Pair-quality figures: shares and means of the sums of `karma.store.pair_quality`; None where nothing was counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from karma.config.derived_streams import derivation
from karma.config.pool import Pool
from karma.plugins.registry import judge_kind
from karma.ranking.snapshot import Snapshot
from karma.store import Store
from karma.store.counting import prompts_without_pair
from karma.store.order_quality import GAPS
from karma.store.pair_quality import LENGTH_RATIOS, PairQuality, PolicyQuality
from karma.store.pair_rows import pair_records_after
from karma.store.records import PairRecord
from karma.verdicts import OUTCOMES, TIE_MARGIN
from karma_monitor.figures.intervals import ratio, wilson
from karma_monitor.figures.judges import first_position, judges
from karma_monitor.figures.judges.cascades import cascade_figures
from karma_monitor.figures.preferences import preference_figures

TieMargin = Callable[[str], float]

#: Pairs read in one transaction.
PAIRS_AT_ONCE = 2_000


def default_margin(_stream: str) -> float:
    """The tie margin where no pool file says another."""
    return TIE_MARGIN


def rules_of(pool: Pool) -> frozenset[str]:
    """The judges that read no responses."""
    return frozenset(name for name, judge in pool.judges.items() if not judge_kind(judge.kind).reads_responses)


def quality_of(records: Iterable[PairRecord], tie_margin: TieMargin, rules: Collection[str] = ()) -> PairQuality:
    """The sums over some pairs; `rules` are judges that read no responses."""
    quality = PairQuality(tie_margin, rules)
    for record in records:
        quality.add(record)
    return quality


def measure(
    store: Store, tie_margin: TieMargin, streams: Sequence[str] | None = None, rules: Collection[str] = ()
) -> PairQuality:
    """The sums over all pairs of the named streams, or of all, and over their prompts without a pair."""
    quality = PairQuality(tie_margin, rules)
    after = 0
    while True:
        with store.reading() as transaction:
            records = pair_records_after(transaction.ledger.connection, after, PAIRS_AT_ONCE, streams)
        for record in records:
            quality.add(record)
        if len(records) < PAIRS_AT_ONCE:
            break
        after = records[-1].pair.id
    with store.reading() as transaction:
        for stream, number in prompts_without_pair(transaction.ledger.connection).items():
            if streams is None or stream in streams:
                quality.policies[stream, main_policy(quality, stream)].without_pair += number
    return quality


def main_policy(quality: PairQuality, stream: str) -> str:
    """The policy that a stream's prompts without a pair count for: its own, or that of most of its pairs."""
    derived = derivation(stream)
    if derived is not None:
        return derived.policy
    found = {policy: sums.pairs for (name, policy), sums in quality.policies.items() if name == stream}
    return max(found, key=lambda policy: found[policy]) if found else "none"


def summary(quality: PairQuality, records: Sequence[PairRecord], snapshot: Snapshot) -> dict[str, Any]:
    """The figures of the newest pairs, for the live status."""
    policies = list(quality.policies.values())

    def total(figure: Callable[[PolicyQuality], float]) -> float:
        return sum(figure(sums) for sums in policies)

    longer = total(lambda sums: sums.lengths["longer"])
    unequal = longer + total(lambda sums: sums.lengths["shorter"])
    error = worst_error(snapshot)
    return {
        "window": len(records),
        "window_from": min((record.resolved_at for record in records), default=None),
        "flip_share": ratio(total(lambda sums: sums.flipped), total(lambda sums: sums.both_orders)),
        "flips_by_gap": flips_by_gap(quality),
        "calls_saved_share": ratio(
            total(lambda sums: sums.calls_saved), total(lambda sums: sums.calls + sums.calls_saved)
        ),
        "cascades": cascade_figures(quality.cascades, snapshot),
        "first_position": first_position(quality),
        "tie_share": ratio(total(lambda sums: sums.outcomes["tie"]), len(records)),
        "longer_wins": ratio(longer, unequal),
        "longer_expected": ratio(total(lambda sums: sums.longer_expected), unequal),
        "label_error": error,  # the former name of the next
        "predicted_label_error": error,
        "judged_share": ratio(total(lambda sums: sums.judged), len(records)),
        "preferences": preference_figures(quality.preferences),
        "agreement": ratio(total(lambda sums: sums.agreed), total(lambda sums: sums.compared)),
        "judges": judges(quality, snapshot),
    }


def policy_figures(sums: PolicyQuality) -> dict[str, float | int | None]:
    """The figures of the pairs that one policy formed in one stream, with their denominators."""
    prompts = len(sums.prompts) + sums.without_pair
    resolved = sums.pairs - sums.outcomes["open"]
    decisive = sums.outcomes["decisive"]
    return {
        "prompts": prompts,
        "without_pair": sums.without_pair,
        "pairs": sums.pairs,
        "judged_pairs": sums.judged,
        "judge_calls": sums.calls,
        "judge_calls_saved": sums.calls_saved,
        "judge_tokens": sums.tokens if sums.metered else None,
        **{outcome: sums.outcomes[outcome] for outcome in (*OUTCOMES, "open")},
        "predicted": sums.sources["predicted"],
        "decisive_per_prompt": ratio(decisive, prompts),
        "decisive_per_call": ratio(decisive, sums.calls),
        "bits_per_pair": ratio(sums.bits, sums.with_information),
        "bits_per_call": ratio(sums.bits, sums.calls),
        "tie_share": ratio(sums.outcomes["tie"], resolved),
        "inconsistent_share": ratio(sums.outcomes["inconsistent"], resolved),
        "flip_share": ratio(sums.flipped, sums.both_orders),
        "length_ratio": math.exp(sums.log_ratios / decisive) if decisive else None,
        "referenced": sums.referenced,
        "label_error": ratio(sums.wrong, sums.referenced),
    }


def length_buckets(quality: PairQuality, source: str = "judge") -> list[dict[str, Any]]:
    """How often the longer response wins, by how much longer it is, beside the share expected by competency."""
    start, rows = 1.0, []
    for end, bucket in zip(LENGTH_RATIOS, quality.buckets[source], strict=True):
        low, high = wilson(bucket.longer, bucket.pairs) if bucket.pairs else (None, None)
        rows.append(
            {
                "from": start,
                "to": None if math.isinf(end) else end,
                "pairs": bucket.pairs,
                "longer": ratio(bucket.longer, bucket.pairs),
                "low": low,
                "high": high,
                "expected": ratio(bucket.expected, bucket.pairs),
            }
        )
        start = end
    return rows


def flips_by_gap(quality: PairQuality) -> list[dict[str, Any]]:
    """The share of order flips by the models' competency gap when the pair was formed, logits.

    Pairs of planned orders count by their weights (`karma.store.order_quality`).
    """
    start, rows = 0.0, []
    for end, (both, flipped) in zip(GAPS, quality.flips_by_gap, strict=True):
        row = {"from": start, "to": None if math.isinf(end) else end}
        rows.append({**row, "both_orders": both, "flip_share": ratio(flipped, both)})
        start = end
    return rows


def worst_error(snapshot: Snapshot) -> dict[str, Any] | None:
    """The audited error of the predicted labels, of the stream where it is highest."""
    stream = max(snapshot.audits, key=lambda name: snapshot.audits[name].estimate, default=None)
    return None if stream is None else {"stream": stream, **asdict(snapshot.audits[stream])}
