"""The dashboard "Pair quality": biases, agreement, distributions, the judge budget and its audit."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from deploy.grafana.first_judge import first_judge
from deploy.grafana.judges import judge_panels
from deploy.grafana.panels import Panel, Query, distribution, figure, graph, new
from deploy.grafana.promql import hour, mean, per_s, ratio, share

S = 'stream=~"$stream"'
J = 'judge=~"$judge"'

_LENGTH = "karma_preferences_by_length_total"
_UNEQUAL = f'{S}, chosen=~"longer|shorter"'


def quality() -> Dashboard:
    """Build it."""
    made = new(
        "KARMA: Pair quality", "karma-quality", "Whether the preferences are worth learning from.", ("stream", "judge")
    )
    for panel in _now():
        made.with_panel(panel)
    for title, panels in (
        ("Places and lengths", _biases()),
        ("Chosen and rejected responses", _chosen()),
        ("Judges", judge_panels()),
        ("Pairs", _pairs()),
        ("Judge budget and audit", _judge_budget()),
        ("First judge", first_judge()),
    ):
        made.with_row(Row(title))
        for panel in panels:
            made.with_panel(panel)
    return made


def _now() -> list[Panel]:
    def of_hour(metric: str, part: str) -> Query:
        return Query(ratio(hour(metric, f"{S}, {part}"), hour(metric, S)))

    longer = hour(_LENGTH, f'{S}, chosen="longer"')
    beyond = f"({longer} - {hour('karma_preferences_longer_expected_total', S)}) / {hour(_LENGTH, _UNEQUAL)}"
    flips, agree, prior = (
        "karma_orders_compared_total",
        "karma_judges_compared_total",
        "karma_preferences_by_prior_total",
    )
    wrong = f'max(karma_label_error_ratio{{{S}, bound="estimate"}})'
    return [
        figure(
            "Order flips",
            "percentunit",
            of_hour(flips, 'flipped="yes"'),
            "Judge by judge: pairs that took another side in the other order, in 1 h.",
            1,
        ),
        figure(
            "Ties",
            "percentunit",
            of_hour("karma_pairs_resolved_total", 'outcome="tie"'),
            "Judged pairs without a winner, over an hour.",
            1,
        ),
        figure(
            "Longer beyond expected",
            "percentunit",
            Query(beyond),
            "In 1 h. Better responses may be longer: no bias by itself.",
            1,
        ),
        figure(
            "Judges agree",
            "percentunit",
            of_hour(agree, 'agrees="yes"'),
            "Of all two judges that took a side of one pair.",
            1,
        ),
        figure("As foreseen", "percentunit", of_hour(prior, 'agrees="yes"'), "Preferences that competency foresaw.", 1),
        figure("Wrong predicted labels", "percentunit", Query(wrong), "By the audit; the worst of the streams.", 1),
    ]


def _biases() -> list[Panel]:
    return [
        graph(
            "Order flips, by stream and judge",
            "percentunit",
            Query(share("karma_orders_compared_total", S, 'flipped="yes"', "stream"), "{{stream}}"),
            Query(share("karma_judge_orders_total", J, 'flipped="yes"', "judge"), "judge {{judge}}"),
            description="Share of a judge's pairs whose verdicts in the two orders took different sides.",
            most=1,
        ),
        graph(
            "First position",
            "percentunit",
            Query(share("karma_verdicts_first_position_total", J, 'place="first"', "judge"), "{{judge}}"),
            Query("vector(0.5)", "no preference"),
            description="Share of the verdicts for the response shown first, of judges that see both orders.",
            most=1,
        ),
        graph(
            "Longer wins",
            "percentunit",
            Query(share(_LENGTH, _UNEQUAL, 'chosen="longer"', "stream"), "{{stream}}"),
            Query(
                ratio(
                    per_s("karma_preferences_longer_expected_total", S, "stream"), per_s(_LENGTH, _UNEQUAL, "stream")
                ),
                "{{stream}}: expected by competency",
            ),
            description="Share of the judged preferences between unequal lengths that are for the longer response. "
            "More than competency expects is no bias by itself: better responses may be longer.",
            most=1,
        ),
        graph(
            "Longer wins, against before",
            "short",
            Query(f"karma:length_excess:cusum{{{S}}}", "{{stream}}"),
            Query("vector(20)", "KarmaLongerWinsRising"),
            description="Preferences for the longer response beyond what competency, the stream's own past and an "
            "allowance of 10 points explain, summed since that began: docs/monitoring.md.",
            axis="preferences",
        ),
    ]


def _chosen() -> list[Panel]:
    def newest(metric: str, label: str) -> Query:
        by = f"stream, source, {label}"
        return Query(f"max by ({by}) ({metric}{{{S}}})", f"{{{{stream}}}}, {{{{source}}}}: {{{{{label}}}}}")

    return [
        graph(
            "Log length ratio",
            "short",
            newest("karma_newest_length_log_ratio", "statistic"),
            description="Of ln(chosen / rejected length) in characters, over the newest preferences; 0 is fair.",
        ),
        graph(
            "Quality",
            "short",
            newest("karma_newest_response_quality_score", "side"),
            description="Mean score of a checker or a reward model over the newest preferences. A falling score of the "
            "chosen spoils training more than a rising one of the rejected.",
        ),
        graph(
            "Competency",
            "short",
            newest("karma_newest_response_competency_logits", "side"),
            description="Mean competency of the responses' models when their pairs were formed.",
            axis="logits",
        ),
    ]


def _pairs() -> list[Panel]:
    return [
        distribution(
            "Competency gap", "karma_pair_gap_logits", "short", S, "Absolute gap of the two models, in logits."
        ),
        distribution("Information", "karma_pair_information_ratio", "short", S, "Expected of a verdict, in bits."),
        distribution("Kinship", "karma_pair_kinship_ratio", "percentunit", S, "How comparable the two models are."),
        distribution("Similarity", "karma_pair_likeness_ratio", "percentunit", S, "Similarity of the two responses."),
        distribution(
            "Prompt novelty",
            "karma_prompt_novelty_ratio",
            "percentunit",
            S,
            "Share of a paired prompt that no prompt of the stream before it had.",
        ),
        distribution(
            "Probability",
            "karma_preference_probability_ratio",
            "percentunit",
            S,
            "Probability that the chosen response is better, of judged preferences.",
        ),
        distribution("Length ratio", "karma_pair_length_ratio", "short", S, "Chosen over rejected response."),
        graph(
            "Pairs by policy",
            "ops",
            Query(per_s("karma_pairs_formed_total", S, "stream, policy"), "{{stream}}: {{policy}}"),
            description="Pairs formed.",
            axis="a second",
        ),
        graph(
            "Uncertainty of the gap",
            "short",
            Query(mean("karma_pair_gap_deviation_logits", S, "stream"), "{{stream}}"),
            description="Mean posterior deviation of the gap of the pairs formed.",
            axis="logits",
        ),
    ]


def _judge_budget() -> list[Panel]:
    judged = f'max by (stream) (karma_ledger_gate_pairs{{{S}, decision="judged"}})'
    decided = f"sum by (stream) (max by (stream, decision) (karma_ledger_gate_pairs{{{S}}}))"
    return [
        graph(
            "Share judged",
            "percentunit",
            Query(share("karma_pairs_gated_total", S, 'decision="judged"', "stream"), "{{stream}}"),
            Query(ratio(judged, decided), "{{stream}}: ever"),
            Query(f"max by (stream) (karma_judge_budget_ratio{{{S}}})", "{{stream}}: budget"),
            description="Share of the pairs that a judge sees, beside what the budget allows.",
            most=1,
        ),
        graph(
            "Wrong labels among those that no judge saw",
            "percentunit",
            Query(f"max by (stream, bound) (karma_label_error_ratio{{{S}}})", "{{stream}}: {{bound}}"),
            Query(f"max by (stream) (karma_label_error_limit_ratio{{{S}}})", "{{stream}}: limit"),
            description="By the audit, with the ends of the 95 % interval.",
        ),
        graph(
            "Audited pairs",
            "short",
            Query(f"max by (stream) (karma_labels_audited{{{S}}})", "{{stream}}"),
            description="Judged by chance, so that the labels' error is known.",
            axis="pairs",
        ),
        graph(
            "Calibration error of the outcome model",
            "percentunit",
            Query("max(karma_outcome_calibration_error_ratio)", "error"),
            Query("vector(0.15)", "KarmaOutcomeModelMiscalibrated"),
            description="Expected calibration error on held-out judged pairs.",
        ),
        graph(
            "Preferences by the source of their label",
            "ops",
            Query(per_s("karma_preferences_total", S, "stream, source"), "{{stream}}: {{source}}"),
            description="Of a judge, or predicted.",
            axis="a second",
        ),
    ]
