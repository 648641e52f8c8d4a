"""The tables: the meaning of a row, which service writes it, and the natural key that makes it unique.

Lock discipline: a transaction that changes anything of a prompt first locks the prompt's row (`ledger.lock_prompts`).
Rows are locked in the order of their ids or keys. SQLite has one writer at a time (`BEGIN IMMEDIATE`).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

#: SQLite assigns row ids only to a key of the type INTEGER.
RowId = BigInteger().with_variant(Integer, "sqlite")

#: The newest migration: a store at this revision needs none, so alembic is not loaded.
REVISION = "0015"

#: The batch of parked work: it waits for its prompt to be admitted again, or belongs to a dead prompt.
PARKED = ""

#: The pause of all streams.
EVERYTHING = "*"

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _partial(name: str, columns: str | tuple[str, ...], where: str) -> Index:
    """An index of the rows that meet a condition, and are asked for by it."""
    names = [columns] if isinstance(columns, str) else columns
    return Index(name, *names, sqlite_where=text(where), postgresql_where=text(where))


#: A named flow of prompts.
streams = Table(
    "streams",
    metadata,
    Column("name", Text, primary_key=True),
    Column("created_at", Float, nullable=False),
    # that it began with (`karma.config.goals`); written once, when its first prompt is admitted; null until then
    Column("goal", Text),
    # `karma enqueue --until`: nothing more is admitted once it has so many preferences, or so many admitted prompts
    Column("until_preferences", BigInteger),
    Column("most_admitted", BigInteger),
)

#: Paused streams: no more of their prompts are admitted; admitted ones are finished. Written by `pause` and `resume`.
pauses = Table(
    "pauses",
    metadata,
    Column("stream", Text, primary_key=True),  # need not exist yet; EVERYTHING: all streams
    Column("since", Float, nullable=False),
)

#: One instruction or chat; (stream, prompt_id) is the caller's key. Written by the gateway; every stage sets the state.
prompts = Table(
    "prompts",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("stream", Text, ForeignKey("streams.name"), nullable=False),
    Column("prompt_id", Text, nullable=False),
    Column("content_hash", Text, nullable=False),  # of messages, skill, reference and given responses
    Column("messages", Text, nullable=False),  # JSON: a list of turns
    Column("skill", Text),
    Column("reference", Text),
    Column("given", Text),  # JSON: given responses; null once they are recorded
    Column("metadata", Text),  # JSON: the caller's own fields, which travel to the export
    Column("priority", SmallInteger, nullable=False),  # 0 to 9, higher first
    Column("state", Text, nullable=False),  # accepted, dispatched, answered, matched, done, dead
    Column("admitted", SmallInteger, nullable=False, server_default=text("0")),  # 1 from its admission on
    Column("awaited", Integer, nullable=False),  # responses (dispatched) or pairs (matched) still open
    Column("no_pair", Text),  # why a done prompt has no pair; null where it has one
    Column("error", Text),  # of the last attempt at a dead prompt
    Column("accepted_at", Float, nullable=False),
    Column("ended_at", Float),
    UniqueConstraint("stream", "prompt_id"),
    # No index has the state, which changes often: PostgreSQL can update a row in place where no index changes.
    _partial("ix_prompts_open", ("admitted", "stream", "priority", "id"), "ended_at IS NULL"),  # order of admission
    _partial("ix_prompts_ended", ("stream", "id"), "ended_at IS NOT NULL"),
    _partial("ix_prompts_no_pair", "stream", "no_pair IS NOT NULL"),
    _partial("ix_prompts_dead", "id", "error IS NOT NULL"),
)

#: One publication of open work to one queue. A row is deleted some time after its last item is closed.
batches = Table(
    "batches",
    metadata,
    Column("id", Text, primary_key=True),
    Column("stage", Text, nullable=False),  # generate, score, match, judge
    Column("target", Text, nullable=False),  # the model or judge; empty for score and match
    Column("stream", Text, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("created_at", Float, nullable=False),
    # when the sweeper publishes it, unless it is published
    Column("due_at", Float, nullable=False, server_default=text("0")),
    Column("published_at", Float),  # null until it is published
    Column("epoch", Text),  # id of the Redis incarnation that it was published to
)

#: Open work: requested and without a recorded result. The row is deleted when its result is recorded.
work_items = Table(
    "work_items",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("prompt", RowId, ForeignKey("prompts.id"), nullable=False),
    Column("stage", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("sample", SmallInteger, nullable=False, server_default=text("0")),  # of a response
    Column("pair", RowId, nullable=False, server_default=text("0")),  # of a verdict, else 0
    Column("shown", SmallInteger, nullable=False, server_default=text("0")),  # order of a verdict: 0 shows a first
    Column("batch", Text, nullable=False),  # PARKED: in no batch
    Column("attempts", SmallInteger, nullable=False, server_default=text("0")),  # claims that ended without a result
    Column("result_attempts", SmallInteger, nullable=False, server_default=text("0")),  # at recording its result
    Column("resends", SmallInteger, nullable=False, server_default=text("0")),  # times that it was asked for again
    Column("error", Text),  # of the last attempt
    UniqueConstraint("prompt", "stage", "target", "sample", "pair", "shown"),
    Index(None, "batch"),
    Index(None, "stage", "target"),
    sqlite_autoincrement=True,  # ids are never reused: a late result matches its own item or none
)

#: One model's response to one prompt: a text, or a failure with its reason. Written by scoring.
responses = Table(
    "responses",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("prompt", RowId, ForeignKey("prompts.id"), nullable=False),
    Column("model", Text, nullable=False),
    Column("sample", SmallInteger, nullable=False),
    Column("text", Text),  # the answer, without the model's reasoning
    Column("reasoning", Text),
    Column("failure", Text),
    Column("dropped", Text),  # JSON: names of settings that the endpoint refused and that were left out
    Column("features", Text),  # JSON: name → number
    Column("quality", Float),  # in [0, 1], by a checker; null without a reference
    Column("finish_reason", Text),
    Column("tokens_in", Integer),
    Column("tokens_out", Integer),
    Column("tokens_cached", Integer),  # of tokens_in
    Column("tokens_reasoning", Integer),  # of tokens_out
    Column("cost_usd", Float),  # null: unknown
    Column("priced_by", Text),  # pool, or genai-prices with its version; null where the cost is unknown
    Column("latency_s", Float),
    Column("created_at", Float, nullable=False),
    UniqueConstraint("prompt", "model", "sample"),
    _partial("ix_responses_failure", "prompt", "failure IS NOT NULL"),
)

#: Two responses to one prompt, a < b, with the reasons for the pair. Written by matching.
pairs = Table(
    "pairs",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("prompt", RowId, ForeignKey("prompts.id"), nullable=False),
    Column("response_a", RowId, ForeignKey("responses.id"), nullable=False),
    Column("response_b", RowId, ForeignKey("responses.id"), nullable=False),
    Column("policy", Text, nullable=False),
    Column("reasons", Text, nullable=False),  # JSON: everything that the policy considered
    Column("kinship", Float),  # null where it is unknown
    Column("gap", Float),  # competency of a minus b, logits
    Column("gap_deviation", Float),
    Column("information", Float),  # bits
    Column("likeness", Float),  # similarity of the two responses
    Column("novelty", Float),  # of the prompt (`karma_matching.novelty`); null in rows of earlier versions
    Column("judged_probability", Float, nullable=False),  # of being judged; 0 where the hour's calls were spent
    Column("judged", SmallInteger, nullable=False, server_default=text("1")),  # 0: labeled by the prediction
    Column("predicted", Float),  # P(a better | decisive) when it was formed; null without a judge budget
    Column("predicted_tie", Float),  # P(tie) by the same model
    Column("snapshot", Integer, nullable=False),  # version of the snapshot that it was formed under
    Column("awaited", SmallInteger, nullable=False),  # verdicts still open
    Column("created_at", Float, nullable=False),
    UniqueConstraint("prompt", "response_a", "response_b"),
    _partial("ix_pairs_gated", "id", "predicted IS NOT NULL"),
    _partial("ix_pairs_audited", "id", "judged = 1 AND judged_probability < 1"),
)

#: One judge's verdict on one pair in one order. Written by scoring.
verdicts = Table(
    "verdicts",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("pair", RowId, ForeignKey("pairs.id"), nullable=False),
    Column("judge", Text, nullable=False),
    Column("template_hash", Text, nullable=False),
    Column("shown", SmallInteger, nullable=False),  # 0: response a was first, 1: b was
    Column("probability", Float),  # that the first shown is better
    Column("failure", Text),
    Column("rationale", Text),
    Column("note", Text),  # what was odd about a valid verdict, for example missing log-probabilities
    Column("tokens_in", Integer),
    Column("tokens_out", Integer),
    Column("tokens_cached", Integer),  # of tokens_in
    Column("tokens_reasoning", Integer),  # of tokens_out
    Column("cost_usd", Float),  # null: unknown
    Column("priced_by", Text),  # pool, or genai-prices with its version; null where the cost is unknown
    Column("latency_s", Float),
    Column("created_at", Float, nullable=False),
    UniqueConstraint("pair", "judge", "template_hash", "shown"),
    _partial("ix_verdicts_failure", "pair", "failure IS NOT NULL"),
    _partial("ix_verdicts_human", "pair", "template_hash = 'human'"),  # `karma.ranking.verdict_sources.HUMAN`
)

#: The templates that judges were asked by, kept whatever becomes of the pool file. Written before the first message.
judge_templates = Table(
    "judge_templates",
    metadata,
    Column("hash", Text, primary_key=True),  # `verdicts.template_hash`
    Column("name", Text, nullable=False),  # that the pool file had for it first
    Column("text", Text, nullable=False),
    Column("criteria", Text, nullable=False),  # JSON: name → sentence
    Column("created_at", Float, nullable=False),
)

#: The resolution of a pair. Written by scoring, in the transaction that adds to the competency counts; by matching
#: where no pair of a prompt is judged.
resolutions = Table(
    "resolutions",
    metadata,
    Column("pair", RowId, ForeignKey("pairs.id"), primary_key=True, autoincrement=False),
    Column("prompt", RowId, ForeignKey("prompts.id"), nullable=False),
    Column("outcome", Text, nullable=False),  # decisive, tie, inconsistent, unscored, canary
    Column("chosen", RowId, ForeignKey("responses.id")),
    Column("rejected", RowId, ForeignKey("responses.id")),
    Column("probability", Float),  # that a is better, over all valid verdicts
    Column("flipped", SmallInteger),  # 1 if a judge's two orders took different sides; null if none judged both
    Column("label_source", Text),  # judge or predicted
    Column("predicted", Float),  # P(a better | decisive) without this pair's own verdicts
    Column("reason", Text),  # why it is unscored
    Column("weights", Text),  # JSON: judge → its weight and the log-odds that it added for a; null: the mean, or one
    Column("resolved_at", Float, nullable=False),
    Index(None, "resolved_at"),
    Index(None, "prompt"),
    _partial("ix_resolutions_unscored", "resolved_at", "outcome = 'unscored'"),
)

#: Sufficient statistics of the verdicts, weighted (`karma.ranking.verdict_weights`). Additions commute, so any number
#: of workers may add.
competency_counts = Table(
    "competency_counts",
    metadata,
    Column("source", Text, primary_key=True),  # `karma.ranking.verdict_sources`
    Column("skill", Text, primary_key=True),  # empty where the prompt has none
    Column("model_a", Text, primary_key=True),  # model_a < model_b; NAME#BUCKET: former model, before that bucket
    Column("model_b", Text, primary_key=True),
    Column("bucket", Integer, primary_key=True),  # of two seconds, since 1970; the first one of merged buckets
    Column("wins_a", Float, nullable=False),
    Column("wins_b", Float, nullable=False),
    Column("ties", Float, nullable=False),
    Column("squares", Float, nullable=False, server_default=text("0")),  # of the weights, for the effective size
)

#: The state of a stream's judge budget (`karma_matching.budget.allocation`). Written by matching.
gates = Table(
    "gates",
    metadata,
    Column("stream", Text, ForeignKey("streams.name"), primary_key=True),
    Column("seen", BigInteger, nullable=False),  # pairs that it decided about
    Column("judged", BigInteger, nullable=False),  # of these pairs
    Column("body", Text, nullable=False),  # JSON
)

#: Skills discovered in prompts without a label (`karma_scoring.skill_discovery`). Written by scoring.
skill_clusters = Table(
    "skill_clusters",
    metadata,
    Column("stream", Text, ForeignKey("streams.name"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("weight", Float, nullable=False),  # prompts in it
    Column("centroid", LargeBinary, nullable=False),  # float32, one number per dimension of the embedder
)

#: The competencies of one refit (`karma.ranking.snapshot_archive`).
snapshots = Table(
    "snapshots",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("created_at", Float, nullable=False),
    Column("verdicts", Float, nullable=False),  # weight of all counts that it is fitted to
    Column("body", LargeBinary, nullable=False),
)
