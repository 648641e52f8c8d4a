"""Prompts with their usable responses, for streams derived from others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, case, select

from karma.store.schema import prompts, responses


def answered_prompts(connection: Connection, stream: str, after: int, limit: int) -> list[tuple[Any, list[Any]]]:
    """Up to `limit` prompts of a stream with ids above `after`, in order, each with its usable responses.

    `complete` is 1 where no more responses are awaited, else 0.
    """
    complete = prompts.c.state.in_(("matched", "done"))
    query = (
        select(
            *(prompts.c[name] for name in ("id", "prompt_id", "content_hash", "messages", "skill", "reference")),
            case((complete, 1), else_=0).label("complete"),
        )
        .where(prompts.c.stream == stream, prompts.c.id > after)
        .order_by(prompts.c.id)
        .limit(limit)
    )
    rows = list(connection.execute(query))
    texts = _texts_of(connection, [row.id for row in rows])
    return [(row, texts.get(row.id, [])) for row in rows]


def _texts_of(connection: Connection, ids: Sequence[int]) -> dict[int, list[Any]]:
    query = (
        select(responses.c.prompt, responses.c.model, responses.c.sample, responses.c.text)
        .where(responses.c.prompt.in_(ids), responses.c.text.is_not(None), responses.c.failure.is_(None))
        .order_by(responses.c.prompt, responses.c.id)
    )
    by_prompt: dict[int, list[Any]] = {}
    for row in connection.execute(query):
        by_prompt.setdefault(row.prompt, []).append(row)
    return by_prompt
