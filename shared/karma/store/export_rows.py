"""The rows of an export: preferences with their prompts, texts and verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select

from karma.store.schema import verdicts


def opinions_on(connection: Connection, ids: Sequence[int]) -> list[Any]:
    """The verdicts on these pairs, without their rationales."""
    names = ("pair", "judge", "shown", "probability", "failure", "tokens_in", "tokens_out")
    query = select(*(verdicts.c[name] for name in names)).where(verdicts.c.pair.in_(list(ids))).order_by(verdicts.c.id)
    return list(connection.execute(query))
