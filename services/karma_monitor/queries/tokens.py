"""Tokens read and written, by model and judge."""

from __future__ import annotations

from typing import Literal, NamedTuple

from sqlalchemy import Connection, func, select

from karma.store.schema import responses, verdicts

Kind = Literal["model", "judge"]

_CALLS = {"model": (responses, responses.c.model), "judge": (verdicts, verdicts.c.judge)}


class Tokens(NamedTuple):
    """The tokens of some calls of one model or judge."""

    tokens_in: int = 0
    tokens_out: int = 0
    calls: int = 0
    metered: int = 0  # calls of which the tokens are known

    def plus(self, other: Tokens) -> Tokens:
        """The sum of both."""
        return Tokens(*(mine + its for mine, its in zip(self, other, strict=True)))


def newest_call(connection: Connection, kind: Kind) -> int:
    """The highest id of a call; 0 where there is none."""
    return int(connection.execute(select(func.max(_CALLS[kind][0].c.id))).scalar_one() or 0)


def tokens_between(connection: Connection, kind: Kind, low: int, high: int) -> dict[str, Tokens]:
    """The tokens of the calls with ids from `low` to `high`, by model or judge."""
    table, name = _CALLS[kind]
    query = (
        select(
            name,
            func.coalesce(func.sum(table.c.tokens_in), 0),
            func.coalesce(func.sum(table.c.tokens_out), 0),
            func.count(),
            func.count(func.coalesce(table.c.tokens_in, table.c.tokens_out)),
        )
        .where(table.c.id.between(low, high))
        .group_by(name)
    )
    return {row[0]: Tokens(*(int(value) for value in row[1:])) for row in connection.execute(query)}
