"""The contents of batches' messages, read from the store: no stage trusts the texts in another stage's message."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select

from karma.store.pair_rows import RESPONSE_A, RESPONSE_B
from karma.store.schema import pairs, prompts, work_items


def prompt_contents(connection: Connection, batch_ids: Sequence[str]) -> dict[str, list[Any]]:
    """Open items of batches with their prompts, per batch: item, prompt, target, sample, attempts, error, stream,
    prompt_id, messages, given."""
    query = (
        select(
            *(work_items.c[name] for name in ("batch", "prompt", "target", "sample", "attempts", "error")),
            work_items.c.id.label("item"),
            *(prompts.c[name] for name in ("stream", "prompt_id", "messages", "given")),
        )
        .join(prompts, prompts.c.id == work_items.c.prompt)
        .where(work_items.c.batch.in_(batch_ids))
        .order_by(work_items.c.id)
    )
    return _by_batch(connection.execute(query))


def pair_contents(connection: Connection, batch_ids: Sequence[str]) -> dict[str, list[Any]]:
    """Open items of batches that ask for verdicts, with their pairs and texts, per batch."""
    query = (
        select(
            *(work_items.c[name] for name in ("batch", "prompt", "target", "pair", "shown", "attempts", "error")),
            work_items.c.id.label("item"),
            *(prompts.c[name] for name in ("stream", "prompt_id", "messages", "reference", "metadata")),
            pairs.c.reasons,
            *(RESPONSE_A.c[name].label(f"{name}_a") for name in ("model", "sample", "text")),
            *(RESPONSE_B.c[name].label(f"{name}_b") for name in ("model", "sample", "text")),
        )
        .join(prompts, prompts.c.id == work_items.c.prompt)
        .join(pairs, pairs.c.id == work_items.c.pair)
        .join(RESPONSE_A, RESPONSE_A.c.id == pairs.c.response_a)
        .join(RESPONSE_B, RESPONSE_B.c.id == pairs.c.response_b)
        .where(work_items.c.batch.in_(batch_ids))
        .order_by(work_items.c.id)
    )
    return _by_batch(connection.execute(query))


def _by_batch(rows: Any) -> dict[str, list[Any]]:
    by_batch: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        by_batch[row.batch].append(row)
    return by_batch
