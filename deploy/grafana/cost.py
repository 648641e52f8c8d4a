"""The dashboard "Cost": what models and judges cost, and what a preference costs."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from deploy.grafana.panels import Panel, Query, figure, graph, new
from deploy.grafana.promql import hour, per_s, ratio, renamed

N = 'name=~"$model|$judge"'
_COST = "karma_cost_usd_total"
_MODEL = 'model=~"$model"'
_WRITTEN = 'kind="generate", direction="out", name=~"$model"'


def cost() -> Dashboard:
    """Build it."""
    made = new(
        "KARMA: Cost", "karma-cost", "What models and judges cost, by the pool file's prices.", ("model", "judge")
    )
    for panel in _now():
        made.with_panel(panel)
    made.with_row(Row("Over time"))
    for panel in _course():
        made.with_panel(panel)
    return made


def _now() -> list[Panel]:
    spent = hour(_COST)
    calls = f"({hour('karma_responses_total')} + {hour('karma_verdicts_total')})"
    return [
        figure("An hour", "currencyUSD", Query(f"3600 * {per_s(_COST)}"), "At the present rate.", 2),
        figure(
            "In this time range", "currencyUSD", Query(f"sum(increase({_COST}[$__range]))"), "Of all recorded calls.", 2
        ),
        figure(
            "A preference",
            "currencyUSD",
            Query(ratio(spent, hour("karma_preferences_total"))),
            "All that was spent over an hour, for each preference.",
            5,
        ),
        figure(
            "A thousand prompts",
            "currencyUSD",
            Query(f"1000 * {ratio(spent, hour('karma_prompts_ended_total'))}"),
            "All that was spent over an hour, for a thousand prompts that ended.",
            3,
        ),
        figure(
            "Judging",
            "percentunit",
            Query(ratio(hour(_COST, 'kind="judge"'), spent)),
            "Share of the money that judges cost, over an hour.",
            0,
        ),
        figure(
            "Calls of unknown cost",
            "percentunit",
            Query(ratio(hour("karma_calls_unpriced_total"), calls)),
            "Without a price in the pool file, or without tokens from the endpoint: not in any figure here.",
            1,
        ),
    ]


def _course() -> list[Panel]:
    return [
        graph(
            "Cost",
            "currencyUSD",
            Query(f"3600 * {per_s(_COST, N, 'kind, name')}", "{{kind}} {{name}}"),
            Query("karma:limit:cost_usd_per_hour", "limit of all"),
            description="By model and judge. The limit is that of the alert KarmaCostHigh.",
            axis="an hour",
        ),
        graph(
            "Cost of a preference",
            "currencyUSD",
            Query(ratio(per_s(_COST), per_s("karma_preferences_total")), "all"),
            Query(
                f"{per_s(_COST, by='kind')} / on () group_left () {per_s('karma_preferences_total')}",
                "{{kind}}",
            ),
            description="What is spent for each preference that is recorded.",
        ),
        graph(
            "Budgets",
            "currencyUSD",
            Query("max by (stream, period, of) (karma_budget_usd)", "{{stream}}, {{period}}: {{of}}"),
            description="Of each stream and of all (*): the limit and what is spent, in all or today (UTC).",
        ),
        graph(
            "Tokens",
            "short",
            Query(per_s("karma_tokens_total", N, "kind, direction"), "{{kind}}: {{direction}}"),
            description="Read and written.",
            axis="a second",
        ),
        graph(
            "Tokens of a call",
            "short",
            Query(
                ratio(
                    renamed(per_s("karma_tokens_total", _WRITTEN, "name"), "model", "name"),
                    f"on (model) {per_s('karma_responses_total', _MODEL, 'model')}",
                ),
                "{{model}}",
            ),
            description="Tokens written for each response: a model that begins to write more costs more.",
            axis="tokens",
        ),
        graph(
            "Prices",
            "currencyUSD",
            Query(f"1e6 * max by (name, direction) (karma_price_usd_per_token{{{N}}})", "{{name}}: {{direction}}"),
            description="By the pool file.",
            axis="a million tokens",
        ),
        graph(
            "Calls of unknown cost, by name",
            "ops",
            Query(per_s("karma_calls_unpriced_total", N, "name, lacks"), "{{name}} lacks {{lacks}}"),
            description="They are in no figure here.",
            axis="a second",
        ),
    ]
