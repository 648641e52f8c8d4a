"""The dashboard "Models and judges": competencies, calls, latency, failures, limits."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from deploy.grafana.panels import Panel, Query, graph, new
from deploy.grafana.promql import hour, mean, per_s, quantile, renamed

M = 'model=~"$model"'
J = 'judge=~"$judge"'
N = 'name=~"$model|$judge"'


def models() -> Dashboard:
    """Build it."""
    made = new(
        "KARMA: Models and judges",
        "karma-models",
        "What each model is worth, and how each endpoint answers.",
        ("model", "judge"),
    )
    for title, panels in (("Competencies", _competencies()), ("Calls", _calls()), ("Endpoints", _endpoints())):
        made.with_row(Row(title))
        for panel in panels:
            made.with_panel(panel)
    return made


def _competencies() -> list[Panel]:
    overall = f'{{{M}, skill="overall"}}'
    won = renamed(hour("karma_wins_total", 'winner=~"$model"', "winner"), "model", "winner")
    lost = renamed(hour("karma_wins_total", 'loser=~"$model"', "loser"), "model", "loser")
    return [
        graph(
            "Competency",
            "short",
            Query(f"max by (model) (karma_competency_mean_logits{overall})", "{{model}}"),
            description="Posterior mean over all skills, in logits: 0.4 more is a win rate of 60 %.",
            least=None,
        ),
        graph(
            "Uncertainty of the competency",
            "short",
            Query(f"max by (model) (karma_competency_deviation_logits{overall})", "{{model}}"),
            description="Posterior deviation over all skills; 1.64 of them to either side are the 90 % interval.",
            axis="logits",
        ),
        graph(
            "Comparisons",
            "short",
            Query(f"max by (model) (karma_competency_comparisons{overall})", "{{model}}"),
            description="Verdicts behind a competency, by their present weight.",
            axis="verdicts",
        ),
        graph(
            "Share of wins",
            "percentunit",
            Query(
                f"{won} / on (model) ({won} + on (model) {lost})",
                "{{model}}",
            ),
            description="Of a model's judged preferences over an hour, whoever the other was.",
            most=1,
        ),
        graph(
            "Kinship",
            "percentunit",
            Query(
                'max by (model_a, model_b) (karma_kinship_ratio{model_a=~"$model", model_b=~"$model"})',
                "{{model_a}} – {{model_b}}",
            ),
            description="How comparable two models are over all skills; absent while it is unknown.",
            most=1,
        ),
        graph(
            "Coverage and versions",
            "short",
            Query("max(karma_model_pairs_compared_ratio)", "pairs of models that are known, share"),
            Query("max(karma_snapshot_version)", "version of the competencies"),
            description="Share of the pairs of models with enough verdicts, and the number of refits.",
        ),
        graph(
            "Time of a refit",
            "s",
            Query(
                mean("karma_refit_seconds", "", "result"),
                "{{result}}",
            ),
            description="Mean time from the counts to the new competencies.",
        ),
    ]


def _calls() -> list[Panel]:
    return [
        graph(
            "Responses",
            "ops",
            Query(per_s("karma_responses_total", M, "model, result"), "{{model}}: {{result}}"),
            description="Recorded, by result.",
            axis="a second",
        ),
        graph(
            "Verdicts",
            "ops",
            Query(per_s("karma_verdicts_total", J, "judge, result"), "{{judge}}: {{result}}"),
            description="Recorded, by result.",
            axis="a second",
        ),
        graph(
            "Failures",
            "ops",
            Query(per_s("karma_failures_total", N, "name, reason"), "{{name}}: {{reason}}"),
            description="Why responses and verdicts failed for good.",
            axis="a second",
        ),
        graph(
            "Latency",
            "s",
            *(
                Query(
                    quantile(share, "karma_call_seconds", N, "name"),
                    f"{{{{name}}}}: {name}",
                )
                for share, name in ((0.5, "p50"), (0.95, "p95"))
            ),
            description="Of one response or verdict, further attempts and waits included.",
        ),
        graph(
            "Tokens",
            "short",
            Query(per_s("karma_tokens_total", N, "name, direction"), "{{name}}: {{direction}}"),
            description="Read and written.",
            axis="a second",
        ),
    ]


def _endpoints() -> list[Panel]:
    return [
        graph(
            "Attempts",
            "ops",
            Query(per_s("karma_call_attempts_total", N, "name, result"), "{{name}}: {{result}}"),
            description="By what came back. rate_limited is a status of 429.",
            axis="a second",
        ),
        graph(
            "Calls under way",
            "short",
            Query(f"sum by (name) (karma_calls_in_progress{{{N}}})", "{{name}}"),
            Query(f"sum by (name) (karma_calls_limit{{{N}}})", "{{name}}: at most"),
            description="Over all workers, beside what their `concurrency` allows.",
            axis="calls",
        ),
        graph(
            "Limits of endpoints, over all workers",
            "short",
            Query(f"max by (name, state) (karma_endpoint_calls{{{N}}})", "{{name}}: {{state}}"),
            description="Concurrent calls: the limit now, those in progress, and those that wait for a limit.",
            axis="calls",
        ),
        graph(
            "Circuit breakers",
            "short",
            Query(f"max by (name) (karma_endpoint_open{{{N}}})", "{{name}}"),
            description="1 while an endpoint is not called.",
            axis="open",
        ),
        graph(
            "Calls that wait before a further attempt",
            "short",
            Query(f"sum by (name, result) (karma_calls_backing_off{{{N}}})", "{{name}}: after {{result}}"),
            description="The endpoint refuses, or is unavailable.",
            axis="calls",
        ),
        graph(
            "OpenTelemetry: duration of an operation",
            "s",
            Query(
                quantile(0.95, "gen_ai_client_operation_duration_seconds", by="gen_ai_request_model"),
                "{{gen_ai_request_model}}, p95",
            ),
            description="The same calls under the names of OpenTelemetry's conventions for generative AI.",
        ),
    ]
