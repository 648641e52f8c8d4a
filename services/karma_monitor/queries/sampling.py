"""How the newest responses were sampled: settings that were left out, and samples that do not differ."""

from __future__ import annotations

import json
from collections import Counter

from sqlalchemy import ColumnElement, Connection, case, func, select

from karma.store.schema import responses

#: Responses that the figures are of: the newest.
WINDOW = 2_000


def dropped_settings(connection: Connection) -> dict[str, Counter[str]]:
    """Model → setting that its endpoint refused → number of its newest responses that were sampled without it."""
    query = select(responses.c.model, responses.c.dropped, func.count()).where(
        _newest(connection), responses.c.dropped.is_not(None)
    )
    found: dict[str, Counter[str]] = {}
    for model, dropped, number in connection.execute(query.group_by(responses.c.model, responses.c.dropped)):
        found.setdefault(model, Counter()).update(dict.fromkeys(json.loads(dropped), number))
    return found


def repeated_samples(connection: Connection) -> dict[str, tuple[int, int]]:
    """Model → (further samples of a prompt among the newest responses, of these, equal to the first sample)."""
    first = responses.alias("first")
    same = case((first.c.text == responses.c.text, 1), else_=0)
    query = (
        select(responses.c.model, func.count(), func.sum(same))
        .join(
            first,
            (first.c.prompt == responses.c.prompt) & (first.c.model == responses.c.model) & (first.c.sample == 0),
        )
        .where(_newest(connection), responses.c.sample > 0, responses.c.text.is_not(None), first.c.text.is_not(None))
        .group_by(responses.c.model)
    )
    return {model: (compared, int(identical)) for model, compared, identical in connection.execute(query)}


def _newest(connection: Connection) -> ColumnElement[bool]:
    newest = connection.execute(select(func.max(responses.c.id))).scalar_one() or 0
    return responses.c.id > newest - WINDOW
