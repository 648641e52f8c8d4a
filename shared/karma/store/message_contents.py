"""The contents of batches' messages, read from the store: no stage trusts the texts in another stage's message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, select

from karma.store.pair_rows import RESPONSE_A, RESPONSE_B
from karma.store.schema import pairs, prompts, work_items
from karma.store.statements import Query, among


class ItemContent(NamedTuple):
    """An open item, and nothing of its prompt."""

    batch: str
    item: int
    prompt: int
    attempts: int
    error: str | None


class PromptContent(NamedTuple):
    """An open item with its prompt."""

    batch: str
    item: int
    prompt: int
    attempts: int
    error: str | None
    target: str
    sample: int
    stream: str
    prompt_id: str
    messages: str  # JSON: turns
    given: str | None  # JSON: responses that it brought


class PairContent(NamedTuple):
    """An open item that asks for a verdict, with its pair and its texts."""

    batch: str
    item: int
    prompt: int
    attempts: int
    error: str | None
    target: str
    stream: str
    prompt_id: str
    messages: str  # JSON: turns
    reference: str | None
    metadata: str | None  # JSON
    pair: int
    shown: int
    reasons: str  # JSON
    model_a: str
    sample_a: int
    text_a: str
    model_b: str
    sample_b: int
    text_b: str


_ITEM = [work_items.c[name] for name in ("batch", "id", "prompt", "attempts", "error")]
_OF_BATCHES = among(work_items.c.batch, "batches")

_ITEMS = Query(select(*_ITEM).where(_OF_BATCHES).order_by(work_items.c.id), "batches")
_PROMPTS = Query(
    select(
        *_ITEM,
        *(work_items.c[name] for name in ("target", "sample")),
        *(prompts.c[name] for name in ("stream", "prompt_id", "messages", "given")),
    )
    .join(prompts, prompts.c.id == work_items.c.prompt)
    .where(_OF_BATCHES)
    .order_by(work_items.c.id),
    "batches",
)
_PAIRS = Query(
    select(
        *_ITEM,
        work_items.c.target,
        *(prompts.c[name] for name in ("stream", "prompt_id", "messages", "reference", "metadata")),
        *(work_items.c[name] for name in ("pair", "shown")),
        pairs.c.reasons,
        *(RESPONSE_A.c[name] for name in ("model", "sample", "text")),
        *(RESPONSE_B.c[name] for name in ("model", "sample", "text")),
    )
    .join(prompts, prompts.c.id == work_items.c.prompt)
    .join(pairs, pairs.c.id == work_items.c.pair)
    .join(RESPONSE_A, RESPONSE_A.c.id == pairs.c.response_a)
    .join(RESPONSE_B, RESPONSE_B.c.id == pairs.c.response_b)
    .where(_OF_BATCHES)
    .order_by(work_items.c.id),
    "batches",
)


def item_contents(connection: Connection, batch_ids: Sequence[str]) -> dict[str, list[ItemContent]]:
    """Open items of batches whose messages have no texts, per batch."""
    return _ITEMS.grouped(connection, 0, ItemContent, batch_ids)


def prompt_contents(connection: Connection, batch_ids: Sequence[str]) -> dict[str, list[PromptContent]]:
    """Open items of batches with their prompts, per batch."""
    return _PROMPTS.grouped(connection, 0, PromptContent, batch_ids)


def pair_contents(connection: Connection, batch_ids: Sequence[str]) -> dict[str, list[PairContent]]:
    """Open items of batches that ask for verdicts, with their pairs and texts, per batch."""
    return _PAIRS.grouped(connection, 0, PairContent, batch_ids)
