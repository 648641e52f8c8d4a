"""The first schema: streams, prompts, open work, responses, pairs, verdicts, resolutions, counts, snapshots."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def row_id() -> sa.types.TypeEngine[int]:
    """SQLite assigns row ids only to a key of the type INTEGER."""
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "batches",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("published_at", sa.Float()),
        sa.Column("epoch", sa.Text()),
    )
    op.create_table(
        "competency_counts",
        sa.Column("source", sa.Text(), primary_key=True),
        sa.Column("skill", sa.Text(), primary_key=True),
        sa.Column("model_a", sa.Text(), primary_key=True),
        sa.Column("model_b", sa.Text(), primary_key=True),
        sa.Column("bucket", sa.Integer(), primary_key=True),
        sa.Column("wins_a", sa.Float(), nullable=False),
        sa.Column("wins_b", sa.Float(), nullable=False),
        sa.Column("ties", sa.Float(), nullable=False),
    )
    op.create_table(
        "snapshots",
        sa.Column("version", sa.Integer(), autoincrement=False, primary_key=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("verdicts", sa.Float(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "streams",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("created_at", sa.Float(), nullable=False),
    )
    op.create_table(
        "prompts",
        sa.Column("id", row_id(), primary_key=True),
        sa.Column("stream", sa.Text(), sa.ForeignKey("streams.name"), nullable=False),
        sa.Column("prompt_id", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("messages", sa.Text(), nullable=False),
        sa.Column("skill", sa.Text()),
        sa.Column("reference", sa.Text()),
        sa.Column("given", sa.Text()),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("awaited", sa.Integer(), nullable=False),
        sa.Column("no_pair", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.Column("accepted_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float()),
        sa.UniqueConstraint("stream", "prompt_id"),
    )
    op.create_index(op.f("ix_prompts_state_priority_id"), "prompts", ["state", "priority", "id"])
    op.create_table(
        "responses",
        sa.Column("id", row_id(), primary_key=True),
        sa.Column("prompt", row_id(), sa.ForeignKey("prompts.id"), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("sample", sa.SmallInteger(), nullable=False),
        sa.Column("text", sa.Text()),
        sa.Column("failure", sa.Text()),
        sa.Column("features", sa.Text()),
        sa.Column("quality", sa.Float()),
        sa.Column("finish_reason", sa.Text()),
        sa.Column("tokens_in", sa.Integer()),
        sa.Column("tokens_out", sa.Integer()),
        sa.Column("latency_s", sa.Float()),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.UniqueConstraint("prompt", "model", "sample"),
    )
    op.create_table(
        "work_items",
        sa.Column("id", row_id(), primary_key=True),
        sa.Column("prompt", row_id(), sa.ForeignKey("prompts.id"), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("sample", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("pair", row_id(), server_default=sa.text("0"), nullable=False),
        sa.Column("shown", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("batch", sa.Text(), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("error", sa.Text()),
        sa.UniqueConstraint("prompt", "stage", "target", "sample", "pair", "shown"),
    )
    op.create_index(op.f("ix_work_items_batch"), "work_items", ["batch"])
    op.create_index(op.f("ix_work_items_stage_target"), "work_items", ["stage", "target"])
    op.create_table(
        "pairs",
        sa.Column("id", row_id(), primary_key=True),
        sa.Column("prompt", row_id(), sa.ForeignKey("prompts.id"), nullable=False),
        sa.Column("response_a", row_id(), sa.ForeignKey("responses.id"), nullable=False),
        sa.Column("response_b", row_id(), sa.ForeignKey("responses.id"), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("kinship", sa.Float()),
        sa.Column("gap", sa.Float()),
        sa.Column("gap_deviation", sa.Float()),
        sa.Column("information", sa.Float()),
        sa.Column("likeness", sa.Float()),
        sa.Column("judged_probability", sa.Float(), nullable=False),
        sa.Column("snapshot", sa.Integer(), nullable=False),
        sa.Column("awaited", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.UniqueConstraint("prompt", "response_a", "response_b"),
    )
    op.create_table(
        "resolutions",
        sa.Column("pair", row_id(), sa.ForeignKey("pairs.id"), autoincrement=False, primary_key=True),
        sa.Column("prompt", row_id(), sa.ForeignKey("prompts.id"), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("chosen", row_id(), sa.ForeignKey("responses.id")),
        sa.Column("rejected", row_id(), sa.ForeignKey("responses.id")),
        sa.Column("probability", sa.Float()),
        sa.Column("flipped", sa.SmallInteger()),
        sa.Column("label_source", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("resolved_at", sa.Float(), nullable=False),
    )
    op.create_index(op.f("ix_resolutions_prompt"), "resolutions", ["prompt"])
    op.create_index(op.f("ix_resolutions_resolved_at"), "resolutions", ["resolved_at"])
    op.create_table(
        "verdicts",
        sa.Column("id", row_id(), primary_key=True),
        sa.Column("pair", row_id(), sa.ForeignKey("pairs.id"), nullable=False),
        sa.Column("judge", sa.Text(), nullable=False),
        sa.Column("template_hash", sa.Text(), nullable=False),
        sa.Column("shown", sa.SmallInteger(), nullable=False),
        sa.Column("probability", sa.Float()),
        sa.Column("failure", sa.Text()),
        sa.Column("rationale", sa.Text()),
        sa.Column("tokens_in", sa.Integer()),
        sa.Column("tokens_out", sa.Integer()),
        sa.Column("latency_s", sa.Float()),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.UniqueConstraint("pair", "judge", "template_hash", "shown"),
    )
