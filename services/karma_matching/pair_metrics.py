"""What matching shows of the pairs that it formed and of the prompts that it ended."""

from __future__ import annotations

from collections import Counter

from karma.telemetry import metrics
from karma.telemetry.bounded_metrics import MetricBatch
from karma_matching.handlers import Matched

_DISTRIBUTIONS = (
    ("kinship", metrics.PAIR_KINSHIP),
    ("gap", metrics.PAIR_GAP),
    ("gap_deviation", metrics.PAIR_GAP_DEVIATION),
    ("information", metrics.PAIR_INFORMATION),
    ("likeness", metrics.PAIR_LIKENESS),
)


def observe(stream: str, matched: Matched) -> None:
    """Show a batch whose transaction is committed."""
    batch_metrics = MetricBatch()
    for policy, count in Counter(str(one.pair.reasons["policy"]) for one in matched.pairs).items():
        batch_metrics.add(metrics.PAIRS, stream, policy, count=count)
    for judged, count in Counter(one.judged for one in matched.pairs if one.decision is not None).items():
        batch_metrics.add(metrics.PAIRS_GATED, stream, "judged" if judged else "predicted", count=count)
    for name, histogram in _DISTRIBUTIONS:
        values = [one.pair.reasons[name] for one in matched.pairs]
        batch_metrics.observe(histogram, [abs(value) for value in values if isinstance(value, int | float)], stream)
    batch_metrics.observe(
        metrics.PROMPT_NOVELTY, list({one.prompt.id: one.novelty for one in matched.pairs}.values()), stream
    )
    for source, count in Counter(str(one.label_source) for one in matched.predicted).items():
        batch_metrics.add(metrics.PREFERENCES, stream, source, count=count)  # of pairs that no judge is asked about
    paired = len({one.prompt for one in matched.predicted})
    for result, count in (("paired", paired), ("no_pair", len(matched.unpaired))):
        if count:
            batch_metrics.add(metrics.PROMPTS_ENDED, stream, result, count=count)
    for reason, count in Counter(matched.unpaired.values()).items():
        batch_metrics.add(metrics.PROMPTS_UNPAIRED, stream, reason, count=count)
    batch_metrics.show()
