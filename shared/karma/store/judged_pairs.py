"""Reads judged pairs with the side that each judge took, for comparisons of judges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from sqlalchemy import Connection, select

from karma.store.jury_verdicts import called_judges
from karma.store.pair_rows import RESPONSE_A, RESPONSE_B, resolved, verdict_rows
from karma.store.records import VerdictRow
from karma.store.schema import pairs, prompts, resolutions
from karma.verdicts import opinions


class JudgedPair(NamedTuple):
    """A judged pair, with the sides of its judges."""

    prompt: int
    stream: str
    skill: str | None
    response_a: int
    response_b: int
    model_a: str
    model_b: str
    quality_a: float | None  # by the reference, in [0, 1]
    quality_b: float | None
    resolved_at: float  # seconds since 1970
    sides: Mapping[str, int]  # judge → 1 for response a, −1 for b; judges without a side are left out


def judged_pairs(connection: Connection, limit: int, tie_margin: Callable[[str], float]) -> list[JudgedPair]:
    """The newest resolved pairs of two models that judges saw; at most `limit`.

    Without the sides of a cascade's larger judges where the first one called for them: these pairs are chosen by what
    the first one said, so that its preferences would show in theirs, and theirs beside it.
    """
    query = (
        resolved(
            select(
                pairs.c.id,
                pairs.c.prompt,
                prompts.c.stream,
                prompts.c.skill,
                pairs.c.response_a,
                pairs.c.response_b,
                RESPONSE_A.c.model,
                RESPONSE_B.c.model,
                RESPONSE_A.c.quality,
                RESPONSE_B.c.quality,
                resolutions.c.resolved_at,
            )
        )
        .where(pairs.c.judged == 1, resolutions.c.pair.is_not(None), RESPONSE_A.c.model != RESPONSE_B.c.model)
        .order_by(pairs.c.id.desc())
        .limit(limit)
    )
    rows = connection.execute(query).all()
    ids = [row[0] for row in rows]
    given = verdict_rows(connection, ids)
    for id_, judges in called_judges(connection, ids).items():
        given[id_] = [each for each in given.get(id_, ()) if each.judge not in judges.larger]
    return [JudgedPair._make((*row[1:], _sides(given.get(row[0], ()), tie_margin(row.stream)))) for row in rows]


def _sides(given: Iterable[VerdictRow], margin: float) -> dict[str, int]:
    sided = [opinion for opinion in opinions(given, margin) if opinion.side != "none"]
    return {opinion.judge: 1 if opinion.side == "a" else -1 for opinion in sided}
