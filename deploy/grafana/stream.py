"""The dashboard "Stream": does it flow, what comes out, what is stuck, is everything there."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from deploy.grafana.panels import Panel, Query, figure, graph, new
from deploy.grafana.promql import hour, per_s, quantile, ratio

S = 'stream=~"$stream"'


def stream() -> Dashboard:
    """Build it."""
    made = new(
        "KARMA: Stream", "karma-stream", "Flow, losses, queues, workers and servers of a KARMA pipeline.", ("stream",)
    )
    for panel in _outcome():
        made.with_panel(panel)
    for title, panels in (("Flow", _flow()), ("Queues", _queues()), ("Workers and servers", _servers())):
        made.with_row(Row(title))
        for panel in panels:
            made.with_panel(panel)
    return made


def _outcome() -> list[Panel]:
    return [
        figure(
            "Preferences a minute",
            "short",
            Query(f"60 * {per_s('karma_preferences_total', S)}"),
            "Preferences recorded, of judges and predicted.",
            1,
        ),
        figure(
            "Yield",
            "percentunit",
            Query(ratio(hour("karma_preferences_total", S), hour("karma_prompts_ended_total", S))),
            "Preferences for each prompt that ended, over an hour. With several pairs a prompt it may exceed 100 %.",
            0,
        ),
        figure(
            "Prompts under way",
            "short",
            Query(f'sum(max by (stream, state) (karma_ledger_prompts{{{S}, state=~"dispatched|answered|matched"}}))'),
            "Admitted and not yet ended.",
            0,
        ),
        figure(
            "Prompts waiting",
            "short",
            Query(f'sum(max by (stream) (karma_ledger_prompts{{{S}, state="accepted"}}))'),
            "Accepted and not yet admitted.",
            0,
        ),
        figure(
            "Dead prompts",
            "short",
            Query(f'sum(max by (stream) (karma_ledger_prompts{{{S}, state="dead"}}))'),
            "The pipeline's own attempts at them are spent. `karma requeue dead` brings them back.",
            0,
        ),
        figure(
            "Oldest batch in a queue",
            "s",
            Query("max(karma_queue_age_seconds)"),
            "Age of the oldest batch that waits in any queue.",
            0,
        ),
    ]


def _flow() -> list[Panel]:
    return [
        graph(
            "From prompts to preferences",
            "ops",
            Query(per_s("karma_prompts_dispatched_total", S), "prompts"),
            Query(per_s("karma_responses_total"), "responses, all streams"),
            Query(per_s("karma_pairs_formed_total", S), "pairs"),
            Query(per_s("karma_verdicts_total"), "verdicts, all streams"),
            Query(per_s("karma_preferences_total", S), "preferences"),
            description="How many a second reach each stage.",
            axis="a second",
        ),
        graph(
            "What prompts end with",
            "ops",
            Query(per_s("karma_prompts_ended_total", S, "end"), "{{end}}"),
            Query(per_s("karma_prompts_unpaired_total", S, "reason"), "no pair: {{reason}}"),
            description="Prompts that ended, and why some ended without a pair.",
            axis="a second",
        ),
        graph(
            "What judged pairs come to",
            "ops",
            Query(per_s("karma_pairs_resolved_total", S, "outcome"), "{{outcome}}"),
            description="Only decisive pairs are preferences.",
            axis="a second",
        ),
        graph(
            "Prompts in the ledger",
            "short",
            Query(f"sum by (state) (max by (stream, state) (karma_ledger_prompts{{{S}}}))", "{{state}}"),
            description="By state, from the store.",
            axis="prompts",
        ),
    ]


def _queues() -> list[Panel]:
    return [
        graph(
            "Age of the oldest batch",
            "s",
            Query("max by (queue) (karma_queue_age_seconds)", "{{queue}}"),
            Query("max by (stage) (karma_ledger_oldest_batch_age_seconds)", "{{stage}}: open"),
            description="A queue whose age grows as fast as time passes is not worked off.",
        ),
        graph(
            "Batches in queues",
            "short",
            Query("max by (queue) (karma_queue_length)", "{{queue}}"),
            description="Batches that no worker has taken yet.",
            axis="batches",
        ),
        graph(
            "Open work",
            "short",
            Query("max by (stage, target) (karma_ledger_open_items)", "{{stage}} {{target}}"),
            description="Responses and verdicts that are asked for and not yet recorded.",
            axis="items",
        ),
        graph(
            "Time of a batch",
            "s",
            Query(
                quantile(0.95, "karma_stage_seconds", by="stage"),
                "{{stage}}: in hand, p95",
            ),
            Query(
                quantile(0.95, "karma_wait_seconds", by="stage"),
                "{{stage}}: waiting, p95",
            ),
            description="95th percentiles of the time from publication to start, and of the time in hand.",
        ),
        graph(
            "Batches sent again",
            "ops",
            Query(per_s("karma_batches_resent_total", by="stage, reason"), "{{stage}}: {{reason}}"),
            description="Lost with a worker or with Redis, or released. Nothing of it counts twice.",
            axis="a second",
        ),
        graph(
            "Batches by what became of them",
            "ops",
            Query(per_s("karma_batches_total", by="stage, result"), "{{stage}}: {{result}}"),
            description="As the workers ended them.",
            axis="a second",
        ),
    ]


def _servers() -> list[Panel]:
    return [
        graph(
            "Workers",
            "short",
            Query("max by (role, state) (karma_workers)", "{{role}}: {{state}}"),
            description="Workers with a recent heartbeat, and those whose heartbeat expired.",
            axis="workers",
        ),
        graph(
            "Store and Redis",
            "bool_on_off",
            Query("min by (server) (karma_server_up)", "{{server}}"),
            description="Whether the gateway could use them at its last read.",
        ),
        graph(
            "Transactions of the store",
            "s",
            Query(
                quantile(0.95, "karma_store_transaction_seconds", by="mode"),
                "{{mode}}, p95",
            ),
            description="The 95th percentile, waits and commit included.",
        ),
        graph(
            "Room",
            "bytes",
            Query("max(karma_store_size_bytes)", "database"),
            Query("max(karma_redis_memory_bytes)", "Redis"),
            Query("max(karma_redis_memory_limit_bytes)", "Redis: at most (0: no limit)"),
            description="Size of the database, memory of Redis.",
        ),
    ]
