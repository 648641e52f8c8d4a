"""Verdicts that share a prompt count less (`karma.ranking.verdict_weights`): the counts are made anew from the pairs.

Former models are joined with the present ones again; the next refit decides anew, from the new counts, who changed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_BUCKET_S = 2.0
_ROWS = 1000

_PAIRS = """
SELECT p.prompt, p.response_a, p.response_b, p.judged, p.judged_probability, q.skill, q.stream, a.model AS first,
       b.model AS second, r.outcome, r.chosen, r.label_source, r.resolved_at
FROM pairs p JOIN prompts q ON q.id = p.prompt JOIN responses a ON a.id = p.response_a
JOIN responses b ON b.id = p.response_b LEFT JOIN resolutions r ON r.pair = p.id ORDER BY p.prompt
"""
_INSERT = """
INSERT INTO competency_counts (source, skill, model_a, model_b, bucket, wins_a, wins_b, ties, squares)
VALUES (:source, :skill, :model_a, :model_b, :bucket, :wins_a, :wins_b, :ties, :squares)
"""


def upgrade() -> None:
    """Replace the counts; a bucket that was merged into a wider one stays merged."""
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        op.execute("LOCK TABLE competency_counts IN SHARE ROW EXCLUSIVE MODE")  # verdicts are being counted
    old = list(connection.execute(sa.text("SELECT source, skill, model_a, model_b, bucket FROM competency_counts")))
    buckets = sorted({row.bucket for row in old})
    sources: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for row in old:
        sources[_key(row.skill, row.model_a.split("#")[0], row.model_b.split("#")[0])].add(row.source)
    cells: dict[tuple[Any, ...], list[float]] = defaultdict(lambda: [0.0] * 4)
    for key, resolved_at, outcome, weight, square in _verdicts(connection):
        bucket = int(resolved_at // _BUCKET_S)
        merged = bisect_right(buckets, bucket)
        source = "probe" if sources[key] == {"probe"} else "judge"
        cell = cells[(source, *key, buckets[merged - 1] if merged else bucket)]
        cell[outcome] += weight
        cell[3] += square
    op.execute("DELETE FROM competency_counts")
    names = ("source", "skill", "model_a", "model_b", "bucket", "wins_a", "wins_b", "ties", "squares")
    rows = [dict(zip(names, (*key, *cell), strict=True)) for key, cell in sorted(cells.items())]
    for start in range(0, len(rows), _ROWS):
        connection.execute(sa.text(_INSERT), rows[start : start + _ROWS])


def _key(skill: str | None, first: str, second: str) -> tuple[str, ...]:
    return (skill or "", *sorted((first, second)))


def _verdicts(connection: sa.Connection) -> Iterator[tuple[tuple[str, ...], float, int, float, float]]:
    """(skill and models, time, 0: the first model won, 1: the second, 2: tie, weight, square) of each counted pair."""
    rows = connection.execute(sa.text(_PAIRS), execution_options={"yield_per": _ROWS})
    for _prompt, group in groupby(rows, key=lambda row: row.prompt):
        pairs = list(group)
        formed = _independent_share([(row.response_a, row.response_b) for row in pairs])
        judged = _independent_share([(row.response_a, row.response_b) for row in pairs if row.judged])
        for row in pairs:
            by_judges = row.outcome == "tie" or (row.outcome == "decisive" and row.label_source == "judge")
            derived = "@" in row.stream and not row.stream.endswith("+teach")
            if by_judges and not derived and row.first != row.second:
                key = _key(row.skill, row.first, row.second)
                first_won = (row.chosen == row.response_a) == (row.first == key[1])
                weight = formed / row.judged_probability
                square = weight * weight / judged
                yield key, row.resolved_at, 2 if row.outcome == "tie" else 0 if first_won else 1, weight, square


def _independent_share(pairs: list[tuple[int, int]]) -> float:
    """As `karma.ranking.verdict_weights` had it at this revision."""
    group: dict[int, int] = {}

    def root(response: int) -> int:
        while group.setdefault(response, response) != response:
            response = group[response]
        return response

    rank = 0
    for first, second in pairs:
        one, other = root(first), root(second)
        if one != other:
            group[one] = other
            rank += 1
    return rank / len(pairs) if pairs else 1.0
