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
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("published_at", sa.Float(), nullable=True),
        sa.Column("epoch", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
    )
    op.create_table(
        "competency_counts",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("skill", sa.Text(), nullable=False),
        sa.Column("model_a", sa.Text(), nullable=False),
        sa.Column("model_b", sa.Text(), nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.Column("wins_a", sa.Float(), nullable=False),
        sa.Column("wins_b", sa.Float(), nullable=False),
        sa.Column("ties", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("source", "skill", "model_a", "model_b", "bucket", name=op.f("pk_competency_counts")),
    )
    op.create_table(
        "snapshots",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("verdicts", sa.Float(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_snapshots")),
    )
    op.create_table(
        "streams",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_streams")),
    )
    op.create_table(
        "prompts",
        sa.Column("id", row_id(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("prompt_id", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("messages", sa.Text(), nullable=False),
        sa.Column("skill", sa.Text(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("given", sa.Text(), nullable=True),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("awaited", sa.Integer(), nullable=False),
        sa.Column("no_pair", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("accepted_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["stream"], ["streams.name"], name=op.f("fk_prompts_stream")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prompts")),
        sa.UniqueConstraint("stream", "prompt_id", name=op.f("uq_prompts_stream_prompt_id")),
    )
    op.create_index(op.f("ix_prompts_state_priority_id"), "prompts", ["state", "priority", "id"], unique=False)
    op.create_table(
        "responses",
        sa.Column("id", row_id(), nullable=False),
        sa.Column("prompt", row_id(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("sample", sa.SmallInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("features", sa.Text(), nullable=True),
        sa.Column("quality", sa.Float(), nullable=True),
        sa.Column("finish_reason", sa.Text(), nullable=True),
        sa.Column("tokens_in", sa.Integer(), nullable=True),
        sa.Column("tokens_out", sa.Integer(), nullable=True),
        sa.Column("latency_s", sa.Float(), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["prompt"], ["prompts.id"], name=op.f("fk_responses_prompt")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_responses")),
        sa.UniqueConstraint("prompt", "model", "sample", name=op.f("uq_responses_prompt_model_sample")),
    )
    op.create_table(
        "work_items",
        sa.Column("id", row_id(), nullable=False),
        sa.Column("prompt", row_id(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("sample", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("pair", row_id(), server_default=sa.text("0"), nullable=False),
        sa.Column("shown", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("batch", sa.Text(), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["prompt"], ["prompts.id"], name=op.f("fk_work_items_prompt")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_work_items")),
        sa.UniqueConstraint(
            "prompt",
            "stage",
            "target",
            "sample",
            "pair",
            "shown",
            name=op.f("uq_work_items_prompt_stage_target_sample_pair_shown"),
        ),
    )
    op.create_index(op.f("ix_work_items_batch"), "work_items", ["batch"], unique=False)
    op.create_index(op.f("ix_work_items_stage_target"), "work_items", ["stage", "target"], unique=False)
    op.create_table(
        "pairs",
        sa.Column("id", row_id(), nullable=False),
        sa.Column("prompt", row_id(), nullable=False),
        sa.Column("response_a", row_id(), nullable=False),
        sa.Column("response_b", row_id(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("kinship", sa.Float(), nullable=True),
        sa.Column("gap", sa.Float(), nullable=True),
        sa.Column("gap_deviation", sa.Float(), nullable=True),
        sa.Column("information", sa.Float(), nullable=True),
        sa.Column("likeness", sa.Float(), nullable=True),
        sa.Column("judged_probability", sa.Float(), nullable=False),
        sa.Column("snapshot", sa.Integer(), nullable=False),
        sa.Column("awaited", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["prompt"], ["prompts.id"], name=op.f("fk_pairs_prompt")),
        sa.ForeignKeyConstraint(["response_a"], ["responses.id"], name=op.f("fk_pairs_response_a")),
        sa.ForeignKeyConstraint(["response_b"], ["responses.id"], name=op.f("fk_pairs_response_b")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pairs")),
        sa.UniqueConstraint("prompt", "response_a", "response_b", name=op.f("uq_pairs_prompt_response_a_response_b")),
    )
    op.create_table(
        "resolutions",
        sa.Column("pair", row_id(), autoincrement=False, nullable=False),
        sa.Column("prompt", row_id(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("chosen", row_id(), nullable=True),
        sa.Column("rejected", row_id(), nullable=True),
        sa.Column("probability", sa.Float(), nullable=True),
        sa.Column("flipped", sa.SmallInteger(), nullable=True),
        sa.Column("label_source", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("resolved_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["chosen"], ["responses.id"], name=op.f("fk_resolutions_chosen")),
        sa.ForeignKeyConstraint(["pair"], ["pairs.id"], name=op.f("fk_resolutions_pair")),
        sa.ForeignKeyConstraint(["prompt"], ["prompts.id"], name=op.f("fk_resolutions_prompt")),
        sa.ForeignKeyConstraint(["rejected"], ["responses.id"], name=op.f("fk_resolutions_rejected")),
        sa.PrimaryKeyConstraint("pair", name=op.f("pk_resolutions")),
    )
    op.create_index(op.f("ix_resolutions_prompt"), "resolutions", ["prompt"], unique=False)
    op.create_index(op.f("ix_resolutions_resolved_at"), "resolutions", ["resolved_at"], unique=False)
    op.create_table(
        "verdicts",
        sa.Column("id", row_id(), nullable=False),
        sa.Column("pair", row_id(), nullable=False),
        sa.Column("judge", sa.Text(), nullable=False),
        sa.Column("template_hash", sa.Text(), nullable=False),
        sa.Column("shown", sa.SmallInteger(), nullable=False),
        sa.Column("probability", sa.Float(), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("rationale", sa.Text(), nullable=True),
        sa.Column("tokens_in", sa.Integer(), nullable=True),
        sa.Column("tokens_out", sa.Integer(), nullable=True),
        sa.Column("latency_s", sa.Float(), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["pair"], ["pairs.id"], name=op.f("fk_verdicts_pair")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verdicts")),
        sa.UniqueConstraint(
            "pair", "judge", "template_hash", "shown", name=op.f("uq_verdicts_pair_judge_template_hash_shown")
        ),
    )
