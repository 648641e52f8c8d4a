"""Metrics of the pairs that matching formed and of the prompts that it ended."""

from __future__ import annotations

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
    """Record the metrics of a batch whose transaction is committed."""
    batch_metrics = MetricBatch()
    for formed in matched.pairs:
        batch_metrics.add(metrics.PAIRS, stream, str(formed.pair.reasons["policy"]))
        if formed.decision is not None:
            batch_metrics.add(metrics.PAIRS_GATED, stream, "judged" if formed.judged else "predicted")
    for name, histogram in _DISTRIBUTIONS:
        values = [formed.pair.reasons[name] for formed in matched.pairs]
        batch_metrics.observe(histogram, [abs(value) for value in values if isinstance(value, int | float)], stream)
    novelties = {formed.prompt.id: formed.novelty for formed in matched.pairs}
    batch_metrics.observe(metrics.PROMPT_NOVELTY, novelties.values(), stream)
    for label in matched.predicted:  # of prompts without a judged pair
        batch_metrics.add(metrics.PREFERENCES, stream, str(label.label_source))
    for _prompt in {label.prompt for label in matched.predicted}:
        batch_metrics.add(metrics.PROMPTS_ENDED, stream, "paired")
    for reason in matched.unpaired.values():
        batch_metrics.add(metrics.PROMPTS_ENDED, stream, "no_pair")
        batch_metrics.add(metrics.PROMPTS_UNPAIRED, stream, reason)
    batch_metrics.show()
