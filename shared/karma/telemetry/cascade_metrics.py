"""Metrics of cascades, beside those of `karma.telemetry.metrics`: scoring counts calls, the gateway shows audits."""

from __future__ import annotations

from karma.telemetry.bounded_metrics import Counter, Gauge

LARGER_CALLS = Counter(
    "karma_larger_judge_calls_total",
    "Calls of judges beside the first_judge, of resolved pairs, by whether they were made or saved.",
    ["stream", "result"],
)
FIRST_JUDGE_PAIRS = Counter(
    "karma_first_judge_pairs_total",
    "Resolved pairs of streams with a first_judge, by whether it decided alone.",
    ["stream", "alone"],
)
FIRST_JUDGE_ERROR = Gauge(
    "karma_first_judge_label_error_ratio",
    "Audited share of labels by the first_judge alone that contradict the other judges, with its 95 % interval.",
    ["stream", "bound"],
)
FIRST_JUDGE_AUDITED = Gauge(
    "karma_first_judge_labels_audited", "Audited pairs behind the label error of the first_judge.", ["stream"]
)
