"""Prompts with their usable responses, for streams derived from others."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, case, select

from karma.store.chunks import groups_in
from karma.store.schema import prompts, responses

#: The columns that a prompt of a derived stream has from its base.
COPIED = ("prompt_id", "content_hash", "messages", "skill", "reference", "metadata")

#: A usable response: model, sample, text.
Given = tuple[str, int, str]


def answered_prompts(connection: Connection, stream: str, after: int, limit: int) -> list[tuple[Any, list[Given]]]:
    """Up to `limit` prompts of a stream with ids above `after`, in order, each with its usable responses.

    `complete` is 1 where no more responses are awaited, else 0.
    """
    complete = prompts.c.state.in_(("matched", "done"))
    query = (
        select(
            *(prompts.c[name] for name in ("id", *COPIED)),
            case((complete, 1), else_=0).label("complete"),
        )
        .where(prompts.c.stream == stream, prompts.c.id > after)
        .order_by(prompts.c.id)
        .limit(limit)
    )
    rows = list(connection.execute(query))
    usable = responses.c.text.is_not(None) & responses.c.failure.is_(None)
    given = select(*(responses.c[name] for name in ("prompt", "model", "sample", "text"))).where(usable)
    ids = [row.id for row in rows]
    texts = groups_in(connection, given.order_by(responses.c.id), responses.c.prompt, ids, lambda _id, *values: values)
    return [(row, texts[row.id]) for row in rows]
