"""What the messages of batches contain, read from what was stored: no stage trusts the text of another's message."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select

from karma.store.schema import pairs, prompts, responses, work_items


def prompt_contents(connection: Connection, batch_ids: Sequence[str]) -> dict[str, list[Any]]:
    """Open items of batches with their prompts, per batch: item, prompt, target, sample, attempts, error, stream,
    prompt_id, messages, given."""
    query = (
        select(
            work_items.c.batch,
            work_items.c.id.label("item"),
            work_items.c.prompt,
            work_items.c.target,
            work_items.c.sample,
            work_items.c.attempts,
            work_items.c.error,
            prompts.c.stream,
            prompts.c.prompt_id,
            prompts.c.messages,
            prompts.c.given,
        )
        .join(prompts, prompts.c.id == work_items.c.prompt)
        .where(work_items.c.batch.in_(batch_ids))
        .order_by(work_items.c.id)
    )
    return _by_batch(connection.execute(query))


def pair_contents(connection: Connection, batch_ids: Sequence[str]) -> dict[str, list[Any]]:
    """Open judgements of batches with their pairs and texts, per batch."""
    a, b = responses.alias("a"), responses.alias("b")
    query = (
        select(
            work_items.c.batch,
            work_items.c.id.label("item"),
            work_items.c.prompt,
            work_items.c.target,
            work_items.c.pair,
            work_items.c.shown,
            work_items.c.attempts,
            work_items.c.error,
            prompts.c.stream,
            prompts.c.prompt_id,
            prompts.c.messages,
            prompts.c.reference,
            pairs.c.reasons,
            a.c.model.label("model_a"),
            a.c.sample.label("sample_a"),
            a.c.text.label("text_a"),
            b.c.model.label("model_b"),
            b.c.sample.label("sample_b"),
            b.c.text.label("text_b"),
        )
        .join(prompts, prompts.c.id == work_items.c.prompt)
        .join(pairs, pairs.c.id == work_items.c.pair)
        .join(a, a.c.id == pairs.c.response_a)
        .join(b, b.c.id == pairs.c.response_b)
        .where(work_items.c.batch.in_(batch_ids))
        .order_by(work_items.c.id)
    )
    return _by_batch(connection.execute(query))


def _by_batch(rows: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        found[row.batch].append(row)
    return found
