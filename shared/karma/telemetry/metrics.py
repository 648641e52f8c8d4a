"""Every metric of KARMA: name, help, labels, buckets. docs/metrics.md lists them, with the process that serves each.

No label contains a prompt's text or id, and the number of series is bounded (`bounded_metrics`). Counters count what is
committed. The gateway serves figures of the store (`karma_ledger_…`, competencies); several gateways serve equal ones.
"""

from __future__ import annotations

from importlib.metadata import version

from karma.telemetry.bounded_metrics import Counter, Gauge, Histogram, expect

__all__ = ["expect"]

# Reasoning models take minutes.
_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_SHARE = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
_LOGITS = (0.1, 0.2, 0.4, 0.8, 1.2, 1.6, 2.4, 3.2, 4.8)

# --- The process: every one -------------------------------------------------------------------------------------------

BUILD = Gauge("karma_build_info", "The version of KARMA; always 1.", ["version"])
BUILD.labels(version("karma")).set(1)

# --- The stream: the worker that processed it -------------------------------------------------------------------------

PROMPTS_DISPATCHED = Counter("karma_prompts_dispatched_total", "Admitted prompts; requeued ones again.", ["stream"])
PROMPTS_ENDED = Counter("karma_prompts_ended_total", "Finished prompts, with or without a pair.", ["stream", "end"])
PROMPTS_UNPAIRED = Counter("karma_prompts_unpaired_total", "Prompts without a pair, by reason.", ["stream", "reason"])
BATCHES = Counter("karma_batches_total", "Received batches, by result.", ["stage", "result"])
ITEMS = Counter("karma_items_total", "Items of finished batches.", ["stage"])
STAGE_SECONDS = Histogram("karma_stage_seconds", "Processing time of a batch.", ["stage"], buckets=_SECONDS)
WAIT_SECONDS = Histogram(
    "karma_wait_seconds", "Time from the publication of a batch to its start.", ["stage"], buckets=_SECONDS
)
REFUSED = Counter(
    "karma_messages_refused_total",
    "Messages and entries of Redis that were refused, by reason.",
    ["stage", "reason"],
)
RESENT = Counter("karma_batches_resent_total", "Batches that the sweeper resent, by reason.", ["stage", "reason"])

# --- The calls: scoring counts recorded ones, generation and judging their own ----------------------------------------

RESPONSES = Counter("karma_responses_total", "Recorded responses, answered or failed.", ["model", "result"])
VERDICTS = Counter("karma_verdicts_total", "Recorded verdicts, valid or failed.", ["judge", "result"])
FAILURES = Counter(
    "karma_failures_total", "Recorded failed responses and verdicts, by reason.", ["kind", "name", "reason"]
)
CALL_SECONDS = Histogram(
    "karma_call_seconds", "Time of a recorded call, retries included.", ["kind", "name"], buckets=_SECONDS
)
TOKENS = Counter("karma_tokens_total", "Tokens read (in) and written (out).", ["kind", "name", "direction"])
COST = Counter("karma_cost_usd_total", "Cost of recorded calls, as stored with each.", ["kind", "name"])
UNPRICED = Counter(
    "karma_calls_unpriced_total", "Recorded calls without a price or a token count.", ["kind", "name", "lacks"]
)
PRICE = Gauge("karma_price_usd_per_token", "Price in the pool file; absent without one.", ["kind", "name", "direction"])
ATTEMPTS = Counter("karma_call_attempts_total", "Attempts at an endpoint, by result.", ["name", "result"])
CALLS_IN_PROGRESS = Gauge("karma_calls_in_progress", "Attempts in progress at an endpoint, of this process.", ["name"])
CALLS_BACKING_OFF = Gauge("karma_calls_backing_off", "Calls in backoff, by last result.", ["name", "result"])
CALL_LIMIT = Gauge(
    "karma_calls_limit",
    "Most concurrent calls of this process to an endpoint now: its part of the shared limit.",
    ["name"],
)

# --- The calls by OpenTelemetry's conventions for generative AI, which may still change -------------------------------
# https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics; the boundaries are those required there, and more.

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

# --- The quality of pairs: matching when it forms them, scoring when they are resolved --------------------------------

PAIRS = Counter("karma_pairs_formed_total", "Formed pairs, by policy.", ["stream", "policy"])
PAIRS_RESOLVED = Counter("karma_pairs_resolved_total", "Pairs resolved by verdicts, by outcome.", ["stream", "outcome"])
PREFERENCES = Counter("karma_preferences_total", "Recorded preferences, by label source.", ["stream", "source"])
PAIRS_BOTH_ORDERS = Counter(
    "karma_pairs_judged_both_orders_total", "Pairs with valid verdicts of a judge in both orders.", ["stream"]
)
PAIRS_FLIPPED = Counter("karma_pairs_flipped_total", "Pairs with an order flip of any judge.", ["stream"])
PAIRS_BY_AGREEMENT = Counter(
    "karma_pairs_by_agreement_total", "Pairs on which several judges take a side, by unanimity.", ["stream", "agrees"]
)
JUDGES_COMPARED = Counter(
    "karma_judges_compared_total", "Two judges that take a side of one pair, by agreement.", ["stream", "agrees"]
)
JUDGE_AGREEMENT = Counter(
    "karma_judge_agreements_total", "Other judges that take a side of the same pair, by agreement.", ["judge", "agrees"]
)
CANARIES = Counter("karma_canaries_total", "Pairs with a known answer, by verdict.", ["judge", "kind", "result"])
JUDGE_LABELS = Counter(
    "karma_judge_label_agreements_total",
    "Pairs of several judges, by whether a judge agrees with the label; with its own vote in the label, or without.",
    ["judge", "vote", "agrees"],
)
ORDERS_COMPARED = Counter(
    "karma_orders_compared_total", "Pairs judged in both orders, judge by judge, by order flip.", ["stream", "flipped"]
)
JUDGE_ORDERS = Counter("karma_judge_orders_total", "Pairs judged in both orders, by order flip.", ["judge", "flipped"])
FIRST_POSITION = Counter(
    "karma_verdicts_first_position_total", "Sides of judges that see both orders, by position.", ["judge", "place"]
)
JUDGE_LENGTH = Counter(
    "karma_verdicts_by_length_total", "Verdicts for the longer or the shorter response.", ["judge", "chosen"]
)
JUDGE_LONGER_EXPECTED = Counter(
    "karma_verdicts_longer_expected_total", "Expected verdicts for the longer response, by competency.", ["judge"]
)
LONGER_CHOSEN = Counter(
    "karma_preferences_by_length_total", "Judged preferences, by length of the chosen response.", ["stream", "chosen"]
)
LONGER_EXPECTED = Counter(
    "karma_preferences_longer_expected_total", "Expected preferences for the longer, by competency.", ["stream"]
)
LONGER_VARIANCE = Counter(
    "karma_preferences_longer_variance_total", "Variance of that number: the sum of p (1 - p).", ["stream"]
)
PRIOR_AGREEMENT = Counter(
    "karma_preferences_by_prior_total",
    "Judged preferences, by whether competency favored the winner.",
    ["stream", "agrees"],
)
WINS = Counter("karma_wins_total", "Judged preferences, by the models of both responses.", ["winner", "loser"])
PAIR_KINSHIP = Histogram("karma_pair_kinship_ratio", "Kinship of a pair's models.", ["stream"], buckets=_SHARE)
PAIR_GAP = Histogram("karma_pair_gap_logits", "Absolute competency gap of a pair.", ["stream"], buckets=_LOGITS)
PAIR_GAP_DEVIATION = Histogram(
    "karma_pair_gap_deviation_logits", "Posterior standard deviation of the gap.", ["stream"], buckets=_LOGITS[:-2]
)
PAIR_INFORMATION = Histogram(
    "karma_pair_information_ratio", "Expected information of a pair, bits.", ["stream"], buckets=_SHARE
)
PAIR_LIKENESS = Histogram("karma_pair_likeness_ratio", "Similarity of two responses.", ["stream"], buckets=_SHARE)
PROMPT_NOVELTY = Histogram(
    "karma_prompt_novelty_ratio", "Share of a paired prompt's text that is new.", ["stream"], buckets=_SHARE
)
PREFERENCE_PROBABILITY = Histogram(
    "karma_preference_probability_ratio", "P(chosen is better) of preferences.", ["stream"], buckets=_SHARE[5:]
)
LENGTH_RATIO = Histogram(
    "karma_pair_length_ratio",
    "Length of the chosen over the rejected response, of judged preferences.",
    ["stream"],
    buckets=(0.1, 0.25, 0.5, 0.8, 1, 1.25, 2, 4, 10),
)

# --- The newest preferences: the gateway, from the store --------------------------------------------------------------

_NEWEST = ["stream", "source"]
NEWEST_PREFERENCES = Gauge(
    "karma_newest_preferences", "Preferences among the newest 2,000 resolved pairs, by label source.", _NEWEST
)
NEWEST_LONGER = Gauge(
    "karma_newest_longer_chosen_ratio",
    "Share of these whose chosen response is the longer one, of those between unequal lengths.",
    _NEWEST,
)
NEWEST_LENGTH = Gauge(
    "karma_newest_length_log_ratio",
    "Mean and median of ln(chosen / rejected length) of these, in characters.",
    [*_NEWEST, "statistic"],
)
NEWEST_QUALITY = Gauge(
    "karma_newest_response_quality_score",
    "Mean score of a checker or a reward model, of chosen and rejected responses; absent while none is known.",
    [*_NEWEST, "side"],
)
NEWEST_COMPETENCY = Gauge(
    "karma_newest_response_competency_logits",
    "Mean competency of the models of chosen and rejected responses when their pairs were formed.",
    [*_NEWEST, "side"],
)

# --- The judge budget: matching when it decides; the gateway from the store -------------------------------------------

PAIRS_GATED = Counter("karma_pairs_gated_total", "Decisions of judge budgets about pairs.", ["stream", "decision"])
GATE_PAIRS = Gauge("karma_ledger_gate_pairs", "All decisions of a judge budget about pairs.", ["stream", "decision"])
JUDGE_BUDGET = Gauge("karma_judge_budget_ratio", "Share of pairs that may be judged, by the pool file.", ["stream"])
JUDGE_CALLS_LAST_HOUR = Gauge(
    "karma_judge_calls_last_hour", "Judge calls of the last 60 minutes; absent without an hourly limit.", ["stream"]
)
JUDGE_CALLS_LIMIT = Gauge(
    "karma_judge_calls_hourly_limit", "judge_calls_per_hour in the pool file; absent without one.", ["stream"]
)
BUDGET = Gauge("karma_budget_usd", "Budgets (`*`: all streams), and what is spent.", ["stream", "period", "of"])
LABEL_ERROR = Gauge(
    "karma_label_error_ratio", "Audited share of wrong predicted labels, with its 95 % interval.", ["stream", "bound"]
)
LABEL_ERROR_LIMIT = Gauge(
    "karma_label_error_limit_ratio", "max_label_error in the pool file; absent without one.", ["stream"]
)
LABELS_AUDITED = Gauge("karma_labels_audited", "Audited pairs behind the label error.", ["stream"])
LABEL_TAIL_ERROR = Gauge(
    "karma_label_tail_error_ratio",
    "Wrong predicted labels by the lower edge of their probability: stated share, and audited with its 95 % interval.",
    ["stream", "probability", "bound"],
)
OUTCOME_CALIBRATION = Gauge(
    "karma_outcome_calibration_error_ratio", "Expected calibration error of the outcome model on held-out pairs."
)

# --- The competencies: the gateway, from the newest snapshot; refits by scoring ---------------------------------------

COMPETENCY_MEAN = Gauge("karma_competency_mean_logits", "Posterior mean of a competency.", ["model", "skill"])
COMPETENCY_DEVIATION = Gauge(
    "karma_competency_deviation_logits", "Posterior standard deviation of a competency.", ["model", "skill"]
)
COMPETENCY_COMPARISONS = Gauge(
    "karma_competency_comparisons", "Effective number of verdicts behind a competency.", ["model", "skill"]
)
KINSHIP = Gauge("karma_kinship_ratio", "Kinship over all skills; absent while unknown.", ["model_a", "model_b"])
PAIR_COVERAGE = Gauge(
    "karma_model_pairs_compared_ratio", "Share of the pairs of models with enough verdicts for the kinship threshold."
)
MODEL_GROUPS = Gauge(
    "karma_model_groups", "Groups of models that no verdict connects: their gaps are unknown; 1: none are apart."
)
MISFIT_PAIRS = Gauge(
    "karma_misfit_model_pairs",
    "Pairs of models whose verdicts contradict their competencies (as rock, paper, scissors).",
)
SNAPSHOT_VERSION = Gauge("karma_snapshot_version", "Version of the newest snapshot.")
REFIT_SECONDS = Histogram("karma_refit_seconds", "Time of a refit, by result.", ["result"], buckets=_SECONDS)
COMPETENCY_CHANGES = Counter("karma_competency_changes_total", "Detected changes of a model's competency.", ["model"])
COMMON_CHANGES = Counter(
    "karma_common_changes_total",
    "Detected changes of all competencies at once: scale (judge), mixture (topics).",
    ["kind"],
)

# --- The ledger: the gateway, from the store --------------------------------------------------------------------------

PROMPTS = Gauge("karma_ledger_prompts", "Prompts, by state.", ["stream", "state"])
RESOLUTIONS = Gauge("karma_ledger_resolutions", "Pairs by outcome; no_pair: prompts without a pair.", ["outcome"])
LEDGER_RESPONSES = Gauge("karma_ledger_responses", "Responses in the store.", ["result"])
LEDGER_PAIRS = Gauge("karma_ledger_pairs", "Pairs in the store.")
LEDGER_VERDICTS = Gauge("karma_ledger_verdicts", "Verdicts in the store.", ["result"])
LEDGER_PREFERENCES = Gauge("karma_ledger_preferences", "Preferences in the store, by label source.", ["source"])
SAMPLES = Gauge(
    "karma_ledger_samples",
    "Further samples of a prompt at a temperature above 0 among the newest responses, by whether they equal the first.",
    ["model", "identical"],
)
PAUSED = Gauge("karma_ledger_paused", "1 while a stream is paused; `*` is the pause of all.", ["stream"])
OPEN_ITEMS = Gauge("karma_ledger_open_items", "Open work: requested and not yet recorded.", ["stage", "target"])
OPEN_AGE = Gauge(
    "karma_ledger_oldest_batch_age_seconds", "Age of a stage's oldest batch with open work; 0 without one.", ["stage"]
)
LEDGER_READ_AT = Gauge("karma_ledger_read_timestamp_seconds", "Time of the last complete count of the ledger.")

# --- Queues, workers and servers: the gateway -------------------------------------------------------------------------

QUEUE_LENGTH = Gauge("karma_queue_length", "Batches waiting in a queue, in all its lists.", ["queue"])
QUEUE_AGE = Gauge("karma_queue_age_seconds", "Age of the oldest batch waiting in a queue.", ["queue"])
WORKERS = Gauge("karma_workers", "Workers, by service; silent: the heartbeat expired.", ["role", "state"])
ENDPOINT_OPEN = Gauge("karma_endpoint_open", "1 while the circuit breaker of an endpoint is open, else 0.", ["name"])
ENDPOINT_CALLS = Gauge(
    "karma_endpoint_calls", "Calls of all workers to an endpoint: limit, in progress, waiting.", ["name", "state"]
)
ENDPOINT_RATE = Gauge(
    "karma_endpoint_requests_per_minute_limit",
    "Limit of requests to an endpoint: configured, or learned from its refusals.",
    ["name", "source"],
)
BATCH_JOBS = Gauge("karma_batch_jobs", "Batch jobs at a provider that workers follow.", ["name"])
SERVER_UP = Gauge("karma_server_up", "1 if the gateway's last access to the store or Redis succeeded.", ["server"])
STORE_SIZE = Gauge("karma_store_size_bytes", "Size of the database.")
REDIS_MEMORY = Gauge("karma_redis_memory_bytes", "Memory that Redis uses.")
REDIS_MEMORY_LIMIT = Gauge("karma_redis_memory_limit_bytes", "Redis' maxmemory; 0 without a limit.")

# --- The store as a worker uses it: gateway, scoring and matching -----------------------------------------------------

STORE_SECONDS = Histogram(
    "karma_store_transaction_seconds",
    "Time of a transaction, waits and commit included.",
    ["mode"],
    buckets=_SECONDS[:14],
)
STORE_ERRORS = Counter("karma_store_errors_total", "Failed statements: an outage, or an error.", ["kind"])
