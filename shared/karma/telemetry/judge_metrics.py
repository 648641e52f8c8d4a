"""Metrics of judges that the gateway reads from the newest snapshot; all others are in `karma.telemetry.metrics`."""

from __future__ import annotations

from karma.telemetry.bounded_metrics import Gauge

SELF_PREFERENCE = Gauge(
    "karma_judge_self_preference_ratio",
    "Share of a judge's own models' wins beyond what others expect, with its 95 % interval; absent while unknown.",
    ["judge", "bound"],
)
SELF_PREFERENCE_VERDICTS = Gauge(
    "karma_judge_self_preference_verdicts", "Pairs of a judge's own model and another, with a side taken.", ["judge"]
)
JUDGE_WEIGHT = Gauge(
    "karma_judge_weight_ratio",
    "Share of a judge, or a person, in the label of a pair that all judges judged; absent with one judge.",
    ["judge"],
)
JUDGE_ACCURACY = Gauge(
    "karma_judge_accuracy_ratio",
    "P(the response a judge prefers is the better one), with its 95 % interval; absent while unknown.",
    ["judge", "bound"],
)
JUDGE_WEIGHED = Gauge("karma_judge_weighed_pairs", "Pairs that the weight of a judge is estimated from.", ["judge"])
