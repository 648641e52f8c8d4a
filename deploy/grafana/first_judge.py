"""Panels of streams with a `first_judge`: calls of the other judges saved, and the audited error of its labels."""

from __future__ import annotations

from deploy.grafana.panels import Panel, Query, graph
from deploy.grafana.promql import share

S = 'stream=~"$stream"'


def first_judge() -> list[Panel]:
    """Build them."""
    return [
        graph(
            "Calls of the other judges saved",
            "percentunit",
            Query(share("karma_larger_judge_calls_total", S, 'result="saved"', "stream"), "{{stream}}"),
            description="Share of the calls of judges beside the first_judge that its verdicts made unnecessary.",
            most=1,
        ),
        graph(
            "Pairs that the first judge decided alone",
            "percentunit",
            Query(share("karma_first_judge_pairs_total", S, 'alone="yes"', "stream"), "{{stream}}"),
            description="Of the resolved pairs of streams with a first_judge.",
            most=1,
        ),
        graph(
            "Wrong labels of the first judge",
            "percentunit",
            Query(f"max by (stream, bound) (karma_first_judge_label_error_ratio{{{S}}})", "{{stream}}: {{bound}}"),
            description="Labels that contradict the other judges, by the audit, with the ends of the 95 % interval.",
        ),
        graph(
            "Audited pairs of the first judge",
            "short",
            Query(f"max by (stream) (karma_first_judge_labels_audited{{{S}}})", "{{stream}}"),
            description="Shown to all judges by chance, so that the error of its labels is known.",
            axis="pairs",
        ),
    ]
