"""The panels of judges in the dashboard "Pair quality"."""

from __future__ import annotations

from deploy.grafana.panels import Panel, Query, graph
from deploy.grafana.promql import per_s, ratio, share

S = 'stream=~"$stream"'
J = 'judge=~"$judge"'


def judge_panels() -> list[Panel]:
    """Build them."""
    return [
        _beside_expected(
            "Longer wins, by judge",
            share("karma_verdicts_by_length_total", J, 'chosen="longer"', "judge"),
            ratio(
                per_s("karma_verdicts_longer_expected_total", J, "judge"),
                per_s("karma_verdicts_by_length_total", J, "judge"),
            ),
            "Share of each judge's verdicts that are for the longer response. What judges of the same pairs share "
            "may be quality; the page says what is not.",
        ),
        graph(
            "Judges of their own models",
            "percentunit",
            Query(f"max by (judge, bound) (karma_judge_self_preference_ratio{{{J}}})", "{{judge}}: {{bound}}"),
            description="Share of the own model's wins beyond what other judges and references expect, with the ends "
            "of the 95 % interval. Empty where no judge has a model in the pool, or its excess is unknown.",
        ),
        graph(
            "Weight of judges",
            "percentunit",
            Query(f"max by (judge) (karma_judge_weight_ratio{{{J}}})", "{{judge}}: weight"),
            Query(f"max by (judge, bound) (karma_judge_accuracy_ratio{{{J}}})", "{{judge}}: right, {{bound}}"),
            description="What the word of each judge counts for in the label of several, and how often it is right, "
            "with the ends of the 95 % interval. Empty with one judge, and until twenty pairs have two judges.",
            most=1,
        ),
        graph(
            "Agreement",
            "percentunit",
            Query(share("karma_judges_compared_total", S, 'agrees="yes"', "stream"), "{{stream}}: among judges"),
            Query(
                share("karma_preferences_by_prior_total", S, 'agrees="yes"', "stream"), "{{stream}}: with competency"
            ),
            Query(
                share("karma_judge_agreements_total", J, 'agrees="yes"', "judge"), "{{judge}}: with the other judges"
            ),
            Query(_label_share("included"), "{{judge}}: with the label, its own vote included"),
            Query(_label_share("left_out"), "{{judge}}: with the label by the others alone"),
            description="Share of all two judges that took the same side of a pair, of the preferences that competency "
            "foresaw, of the other judges that took this judge's side, and of the labels that a judge agrees with.",
            most=1,
        ),
        graph(
            "Ties and other losses",
            "percentunit",
            Query(
                per_s("karma_pairs_resolved_total", f'{S}, outcome!="decisive"', "stream, outcome")
                + " / on (stream) group_left () "
                + per_s("karma_pairs_resolved_total", S, "stream"),
                "{{stream}}: {{outcome}}",
            ),
            description="Share of the judged pairs that give no preference.",
            most=1,
        ),
    ]


def _beside_expected(title: str, found: str, expected: str, description: str) -> Panel:
    """A share of each judge's verdicts beside what the competencies expect."""
    queries = (Query(found, "{{judge}}"), Query(expected, "{{judge}}: expected by competency"))
    return graph(title, "percentunit", *queries, description=description, most=1)


def _label_share(vote: str) -> str:
    labels = f'{J}, vote="{vote}"'
    return share("karma_judge_label_agreements_total", labels, 'agrees="yes"', "judge")
