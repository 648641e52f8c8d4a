"""Every metric of KARMA: names, help, labels, buckets. Labels never hold a prompt's text or id."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram, start_http_server

_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_SHARE = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)

# The stream
PROMPTS_DISPATCHED = Counter(
    "karma_prompts_dispatched_total", "Prompts admitted to the pipeline by this worker.", ["stream"]
)
PROMPTS = Gauge("karma_prompts", "Prompts in the ledger by state.", ["state"])
RESOLUTIONS = Gauge("karma_resolutions", "What pairs came to, from the ledger; no_pair counts prompts.", ["outcome"])
BATCHES = Counter("karma_batches_total", "Batches that this worker finished, by how.", ["stage", "result"])
ITEMS = Counter("karma_items_total", "Items of the batches that this worker finished.", ["stage"])
STAGE_SECONDS = Histogram("karma_stage_seconds", "Time in hand of one batch.", ["stage"], buckets=_SECONDS)
WAIT_SECONDS = Histogram(
    "karma_wait_seconds", "Time from publication of a batch to its start.", ["stage"], buckets=_SECONDS
)
RESENT = Counter(
    "karma_batches_resent_total", "Batches that the sweeper sent again, by why they were lost.", ["stage", "reason"]
)
QUEUE_LENGTH = Gauge("karma_queue_length", "Batches waiting in a queue.", ["queue"])
QUEUE_AGE = Gauge("karma_queue_age_seconds", "Age of the oldest batch waiting in a queue.", ["queue"])

# The calls
RESPONSES = Counter("karma_responses_total", "Responses by model and result.", ["model", "result"])
VERDICTS = Counter("karma_verdicts_total", "Verdicts by judge and result.", ["judge", "result"])
CALL_SECONDS = Histogram(
    "karma_call_seconds", "Latency of one response or verdict.", ["kind", "name"], buckets=_SECONDS
)
TOKENS = Counter("karma_tokens_total", "Tokens read and written.", ["kind", "name", "direction"])

# The quality of pairs
PAIRS = Counter("karma_pairs_formed_total", "Pairs formed, by policy.", ["stream", "policy"])
PAIRS_RESOLVED = Counter("karma_pairs_resolved_total", "Pairs resolved, by outcome.", ["stream", "outcome"])
PAIRS_BOTH_ORDERS = Counter(
    "karma_pairs_judged_both_orders_total", "Pairs with valid verdicts in both orders.", ["stream"]
)
PAIRS_FLIPPED = Counter("karma_pairs_flipped_total", "Pairs whose two orders took different sides.", ["stream"])
FIRST_POSITION = Counter(
    "karma_verdicts_first_position_total", "Verdicts that took a side, by the side's place.", ["judge", "place"]
)
LONGER_CHOSEN = Counter(
    "karma_preferences_by_length_total", "Decisive pairs by which response is longer.", ["stream", "chosen"]
)
PRIOR_AGREEMENT = Counter(
    "karma_preferences_by_prior_total",
    "Decisive pairs by agreement with the competencies when they were formed.",
    ["stream", "agrees"],
)
PAIR_KINSHIP = Histogram("karma_pair_kinship_ratio", "Kinship of the models of a pair.", ["stream"], buckets=_SHARE)
PAIR_GAP = Histogram(
    "karma_pair_gap_logits",
    "Absolute competency gap of a pair.",
    ["stream"],
    buckets=(0.1, 0.2, 0.4, 0.8, 1.2, 1.6, 2.4, 3.2, 4.8),
)
PAIR_GAP_DEVIATION = Histogram(
    "karma_pair_gap_deviation_logits",
    "Posterior deviation of the gap.",
    ["stream"],
    buckets=(0.1, 0.2, 0.4, 0.8, 1.2, 1.6, 2.4),
)
PAIR_INFORMATION = Histogram("karma_pair_information_bits", "Information of a pair.", ["stream"], buckets=_SHARE)
PAIR_LIKENESS = Histogram("karma_pair_likeness_ratio", "Likeness of the two responses.", ["stream"], buckets=_SHARE)
PREFERENCE_PROBABILITY = Histogram(
    "karma_preference_probability_ratio",
    "Probability that the chosen response is better.",
    ["stream"],
    buckets=_SHARE[5:],
)
LENGTH_RATIO = Histogram(
    "karma_pair_length_ratio",
    "Length of the chosen over the rejected response.",
    ["stream"],
    buckets=(0.1, 0.25, 0.5, 0.8, 1, 1.25, 2, 4, 10),
)

# The gate
PAIRS_GATED = Counter(
    "karma_pairs_gated_total", "Pairs that a judge budget decided about, by what it decided.", ["stream", "decision"]
)
LABEL_ERROR = Gauge(
    "karma_label_error_ratio",
    "Audited share of wrong labels among those that no judge saw, with the ends of its 95 % interval.",
    ["stream", "bound"],
)
LABELS_AUDITED = Gauge("karma_labels_audited", "Audited pairs behind the label error.", ["stream"])
OUTCOME_CALIBRATION = Gauge(
    "karma_outcome_calibration_error_ratio", "Expected calibration error of the outcome model on held-out pairs."
)

# The competencies
COMPETENCY_MEAN = Gauge("karma_competency_mean_logits", "Posterior mean of a model's competency.", ["model", "skill"])
COMPETENCY_DEVIATION = Gauge(
    "karma_competency_deviation_logits", "Posterior deviation of a competency.", ["model", "skill"]
)
SNAPSHOT_VERSION = Gauge("karma_snapshot_version", "Version of the competencies in use.")


def serve(port: int, host: str) -> int:
    """Serve `/metrics` of this process; returns the port (of use where 0, any free one, was asked for)."""
    server, _thread = start_http_server(port, addr=host)
    return int(server.server_port)
