"""Every metric of KARMA: names, help, labels, buckets. What each says, and who serves it: docs/metrics.md.

A label never holds a prompt's text or id. Labels are bounded (`bounded_metrics`). What is counted was committed before.
What the store knows (`karma_ledger_…`, the competencies) is served by the gateway; several gateways say the same.
"""

from __future__ import annotations

from importlib.metadata import version

from prometheus_client import start_http_server

from karma.errors import SettingsError
from karma.telemetry.bounded_metrics import Counter, Gauge, Histogram, expect

__all__ = ["expect", "serve"]

# Reasoning models take minutes.
_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_SHARE = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
_LOGITS = (0.1, 0.2, 0.4, 0.8, 1.2, 1.6, 2.4, 3.2, 4.8)

# --- The process: every one -------------------------------------------------------------------------------------------

BUILD = Gauge("karma_build_info", "The version of KARMA; always 1.", ["version"])
BUILD.labels(version("karma")).set(1)

# --- The stream: the worker that did it -------------------------------------------------------------------------------

PROMPTS_DISPATCHED = Counter(
    "karma_prompts_dispatched_total",
    "Prompts that this gateway admitted to the pipeline; one that is brought back counts again.",
    ["stream"],
)
PROMPTS_ENDED = Counter(
    "karma_prompts_ended_total", "Prompts that this worker ended, with or without a pair.", ["stream", "end"]
)
PROMPTS_UNPAIRED = Counter(
    "karma_prompts_unpaired_total", "Prompts that ended without a pair, by why.", ["stream", "reason"]
)
BATCHES = Counter(
    "karma_batches_total", "Batches that this worker was given, by what became of them.", ["stage", "result"]
)
ITEMS = Counter("karma_items_total", "Items of the batches that this worker finished.", ["stage"])
STAGE_SECONDS = Histogram("karma_stage_seconds", "Time in hand of one batch.", ["stage"], buckets=_SECONDS)
WAIT_SECONDS = Histogram(
    "karma_wait_seconds", "Time from the publication of a batch to its start.", ["stage"], buckets=_SECONDS
)
RESENT = Counter(
    "karma_batches_resent_total", "Batches that the sweeper sent again, by why they were lost.", ["stage", "reason"]
)

# --- The calls: scoring counts what was recorded, generation and judging what they asked ------------------------------

RESPONSES = Counter("karma_responses_total", "Responses recorded, answered or failed.", ["model", "result"])
VERDICTS = Counter("karma_verdicts_total", "Verdicts recorded, valid or failed.", ["judge", "result"])
FAILURES = Counter(
    "karma_failures_total",
    "Responses (generate) and verdicts (judge) recorded as failed, by why.",
    ["kind", "name", "reason"],
)
CALL_SECONDS = Histogram(
    "karma_call_seconds",
    "Time of one response (generate) or verdict (judge), further attempts and waits included.",
    ["kind", "name"],
    buckets=_SECONDS,
)
TOKENS = Counter("karma_tokens_total", "Tokens read (in) and written (out).", ["kind", "name", "direction"])
COST = Counter("karma_cost_usd_total", "What recorded calls cost, by the prices of the pool file.", ["kind", "name"])
UNPRICED = Counter(
    "karma_calls_unpriced_total",
    "Recorded calls whose cost is unknown: the pool file gives no price, or the endpoint no tokens.",
    ["kind", "name", "lacks"],
)
PRICE = Gauge(
    "karma_price_usd_per_token",
    "Price of a token by the pool file; absent where it gives none.",
    ["kind", "name", "direction"],
)
ATTEMPTS = Counter(
    "karma_call_attempts_total",
    "Attempts at an endpoint, by what came back: answered, or why it failed.",
    ["name", "result"],
)
CALLS_IN_PROGRESS = Gauge(
    "karma_calls_in_progress", "Calls under way at an endpoint, those that back off included.", ["name"]
)
CALLS_BACKING_OFF = Gauge(
    "karma_calls_backing_off", "Calls that wait before a further attempt, by what the last one met.", ["name", "result"]
)
CALL_LIMIT = Gauge("karma_calls_limit", "Calls that this process makes of an endpoint at once, at most.", ["name"])

# --- The calls by OpenTelemetry's conventions for generative AI. They still move: their names are nowhere else. -------
# https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics; the boundaries are those asked for there, and more.

_GEN_AI = ["gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"]
GEN_AI_DURATION = Histogram(
    "gen_ai_client_operation_duration_seconds",
    "GenAI operation duration.",
    [*_GEN_AI, "error_type"],
    buckets=(*(0.01 * 2**n for n in range(14)), 163.84, 327.68, 655.36),
)
GEN_AI_TOKENS = Histogram(
    "gen_ai_client_token_usage",
    "Number of input and output tokens used.",
    [*_GEN_AI, "gen_ai_token_type"],
    buckets=tuple(4**n for n in range(14)),
)

# --- The quality of pairs: matching as they are formed, scoring as they are resolved ----------------------------------

PAIRS = Counter("karma_pairs_formed_total", "Pairs formed, by policy.", ["stream", "policy"])
PAIRS_RESOLVED = Counter("karma_pairs_resolved_total", "Pairs resolved by verdicts, by outcome.", ["stream", "outcome"])
PREFERENCES = Counter(
    "karma_preferences_total", "Preferences recorded, by the source of their label.", ["stream", "source"]
)
PAIRS_BOTH_ORDERS = Counter(
    "karma_pairs_judged_both_orders_total", "Pairs with valid verdicts of a judge in both orders.", ["stream"]
)
PAIRS_FLIPPED = Counter("karma_pairs_flipped_total", "Pairs whose two orders took different sides.", ["stream"])
PAIRS_BY_AGREEMENT = Counter(
    "karma_pairs_by_agreement_total",
    "Pairs on which two or more judges took a side, by whether all took the same.",
    ["stream", "agrees"],
)
JUDGES_COMPARED = Counter(
    "karma_judges_compared_total",
    "Two judges that both took a side of a pair, by whether it was the same side.",
    ["stream", "agrees"],
)
JUDGE_AGREEMENT = Counter(
    "karma_judge_agreements_total",
    "Other judges that took a side of a pair on which this judge took one, by whether it was the same side.",
    ["judge", "agrees"],
)
ORDERS_COMPARED = Counter(
    "karma_orders_compared_total",
    "Pairs and judges with valid verdicts in both orders, by whether the orders took different sides.",
    ["stream", "flipped"],
)
JUDGE_ORDERS = Counter(
    "karma_judge_orders_total",
    "Pairs that a judge saw in both orders, by whether it took different sides.",
    ["judge", "flipped"],
)
FIRST_POSITION = Counter(
    "karma_verdicts_first_position_total",
    "Verdicts of judges that see both orders that took a side, by the side's place.",
    ["judge", "place"],
)
JUDGE_LENGTH = Counter(
    "karma_verdicts_by_length_total",
    "Verdicts that took a side, by whether it is the longer response.",
    ["judge", "chosen"],
)
JUDGE_LONGER_EXPECTED = Counter(
    "karma_verdicts_longer_expected_total",
    "How many of the verdicts for a longer or shorter response were to be for the longer one by competency.",
    ["judge"],
)
SELF_PREFERENCE = Counter(
    "karma_verdicts_by_ownership_total",
    "Verdicts that chose between a response of the judge's own model and another's.",
    ["judge", "chosen"],
)
SELF_EXPECTED = Counter(
    "karma_verdicts_own_expected_total",
    "How many of the verdicts on the judge's own model were to be for it by competency.",
    ["judge"],
)
LONGER_CHOSEN = Counter(
    "karma_preferences_by_length_total",
    "Judged preferences, by whether the longer response was chosen.",
    ["stream", "chosen"],
)
LONGER_EXPECTED = Counter(
    "karma_preferences_longer_expected_total",
    "How many of the judged preferences between unequal lengths were to be for the longer by competency.",
    ["stream"],
)
LONGER_VARIANCE = Counter(
    "karma_preferences_longer_variance_total",
    "Variance of that number: the sum of p (1 - p) over the same preferences.",
    ["stream"],
)
PRIOR_AGREEMENT = Counter(
    "karma_preferences_by_prior_total",
    "Judged preferences, by whether the competencies foresaw them when the pair was formed.",
    ["stream", "agrees"],
)
WINS = Counter("karma_wins_total", "Judged preferences by the models of the two responses.", ["winner", "loser"])
PAIR_KINSHIP = Histogram("karma_pair_kinship_ratio", "Kinship of the models of a pair.", ["stream"], buckets=_SHARE)
PAIR_GAP = Histogram("karma_pair_gap_logits", "Absolute competency gap of a pair.", ["stream"], buckets=_LOGITS)
PAIR_GAP_DEVIATION = Histogram(
    "karma_pair_gap_deviation_logits", "Posterior deviation of the gap.", ["stream"], buckets=_LOGITS[:-2]
)
PAIR_INFORMATION = Histogram(
    "karma_pair_information_ratio", "Information of a pair, bits: from 0 to 1.", ["stream"], buckets=_SHARE
)
PAIR_LIKENESS = Histogram("karma_pair_likeness_ratio", "Likeness of the two responses.", ["stream"], buckets=_SHARE)
PROMPT_NOVELTY = Histogram(
    "karma_prompt_novelty_ratio",
    "Share of a paired prompt's three-word shingles that no prompt of the stream before it has.",
    ["stream"],
    buckets=_SHARE,
)
PREFERENCE_PROBABILITY = Histogram(
    "karma_preference_probability_ratio",
    "Probability that the chosen response is better, of judged preferences.",
    ["stream"],
    buckets=_SHARE[5:],
)
LENGTH_RATIO = Histogram(
    "karma_pair_length_ratio",
    "Length of the chosen over the rejected response, of judged preferences.",
    ["stream"],
    buckets=(0.1, 0.25, 0.5, 0.8, 1, 1.25, 2, 4, 10),
)

# --- The gate: matching as it decides; the gateway what the store says ------------------------------------------------

PAIRS_GATED = Counter(
    "karma_pairs_gated_total", "Pairs that a judge budget decided about, by what it decided.", ["stream", "decision"]
)
GATE_PAIRS = Gauge(
    "karma_ledger_gate_pairs",
    "Pairs that a stream's judge budget ever decided about, by what it decided.",
    ["stream", "decision"],
)
JUDGE_BUDGET = Gauge("karma_judge_budget_ratio", "Share of the pairs that may be judged, by the pool file.", ["stream"])
LABEL_ERROR = Gauge(
    "karma_label_error_ratio",
    "Audited share of wrong labels among those that no judge saw, with the ends of its 95 % interval.",
    ["stream", "bound"],
)
LABEL_ERROR_LIMIT = Gauge(
    "karma_label_error_limit_ratio",
    "The max_label_error of a stream, by the pool file; absent where it has none.",
    ["stream"],
)
LABELS_AUDITED = Gauge("karma_labels_audited", "Audited pairs behind the label error.", ["stream"])
OUTCOME_CALIBRATION = Gauge(
    "karma_outcome_calibration_error_ratio", "Expected calibration error of the outcome model on held-out pairs."
)

# --- The competencies: the gateway, from the newest snapshot; refits by scoring ---------------------------------------

COMPETENCY_MEAN = Gauge("karma_competency_mean_logits", "Posterior mean of a model's competency.", ["model", "skill"])
COMPETENCY_DEVIATION = Gauge(
    "karma_competency_deviation_logits", "Posterior deviation of a competency.", ["model", "skill"]
)
COMPETENCY_COMPARISONS = Gauge(
    "karma_competency_comparisons",
    "Verdicts, by their present weight, behind a model's competency.",
    ["model", "skill"],
)
KINSHIP = Gauge(
    "karma_kinship_ratio", "Kinship of two models over all skills; absent while it is unknown.", ["model_a", "model_b"]
)
PAIR_COVERAGE = Gauge(
    "karma_model_pairs_compared_ratio",
    "Share of the pairs of models that share enough verdicts to be held to the kinship threshold.",
)
SNAPSHOT_VERSION = Gauge("karma_snapshot_version", "Version of the newest competencies.")
REFIT_SECONDS = Histogram(
    "karma_refit_seconds", "Time of one refit of the competencies, by what became of it.", ["result"], buckets=_SECONDS
)
COMPETENCY_CHANGES = Counter(
    "karma_competency_changes_total", "Times that a model was found to be no longer what it was.", ["model"]
)

# --- The ledger: the gateway, from the store --------------------------------------------------------------------------

PROMPTS = Gauge("karma_ledger_prompts", "Prompts in the ledger by state.", ["stream", "state"])
RESOLUTIONS = Gauge(
    "karma_ledger_resolutions", "What pairs came to; no_pair counts prompts that ended without one.", ["outcome"]
)
LEDGER_RESPONSES = Gauge("karma_ledger_responses", "Responses in the store.", ["result"])
LEDGER_PAIRS = Gauge("karma_ledger_pairs", "Pairs in the store.")
LEDGER_VERDICTS = Gauge("karma_ledger_verdicts", "Verdicts in the store.", ["result"])
LEDGER_PREFERENCES = Gauge(
    "karma_ledger_preferences", "Preferences in the store by the source of their label.", ["source"]
)
PAUSED = Gauge("karma_ledger_paused", "1 where a stream is paused; `*` is the pause of all.", ["stream"])
OPEN_ITEMS = Gauge("karma_ledger_open_items", "Work that is asked for and not yet recorded.", ["stage", "target"])
OPEN_AGE = Gauge(
    "karma_ledger_oldest_batch_age_seconds",
    "Age of a stage's oldest batch with open work; 0 where it has none.",
    ["stage"],
)
LEDGER_READ_AT = Gauge("karma_ledger_read_timestamp_seconds", "When the ledger's counts were last complete.")

# --- Queues, workers and servers: the gateway -------------------------------------------------------------------------

QUEUE_LENGTH = Gauge("karma_queue_length", "Batches waiting in a queue.", ["queue"])
QUEUE_AGE = Gauge("karma_queue_age_seconds", "Age of the oldest batch waiting in a queue.", ["queue"])
WORKERS = Gauge("karma_workers", "Workers by their service and by whether they show signs of life.", ["role", "state"])
SERVER_UP = Gauge("karma_server_up", "Whether the gateway could use the store or Redis at its last look.", ["server"])
STORE_SIZE = Gauge("karma_store_size_bytes", "Size of the database.")
REDIS_MEMORY = Gauge("karma_redis_memory_bytes", "Memory that Redis uses.")
REDIS_MEMORY_LIMIT = Gauge("karma_redis_memory_limit_bytes", "Redis' maxmemory; 0 where it has none.")

# --- The store as a worker sees it: gateway, scoring and matching -----------------------------------------------------

STORE_SECONDS = Histogram(
    "karma_store_transaction_seconds",
    "Time of a transaction, waits and commit included.",
    ["mode"],
    buckets=_SECONDS[:14],
)
STORE_ERRORS = Counter(
    "karma_store_errors_total", "Statements that the store refused: an outage, or an error.", ["kind"]
)


def serve(port: int, host: str) -> int:
    """Serve `/metrics` of this process; returns the port (of use where 0, any free one, was asked for).

    Raises:
        SettingsError: the port is taken, or the host is none of this machine's.
    """
    try:
        server, _thread = start_http_server(port, addr=host)
    except OSError as cause:
        raise SettingsError(
            f"environment: metrics cannot be served on {host}:{port}: {cause.strerror or cause}. "
            "Choose another KARMA_METRICS_PORT (0: any free one) or KARMA_METRICS_HOST"
        ) from cause
    return int(server.server_port)
