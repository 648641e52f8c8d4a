"""Contradictions count as verdicts without a side, and verdicts in both orders as a source of their own
(`karma.ranking.verdict_sources`): the counts are made anew from the pairs.

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

revision = "0009"
down_revision = "0008"

_BUCKET_S = 2.0
_ROWS = 1000
_NAMED = (0.0, 0.5, 1.0)

_PAIRS = """
SELECT p.id, p.prompt, p.response_a, p.response_b, p.judged, p.judged_probability, q.skill, q.stream, a.model AS first,
       b.model AS second, r.outcome, r.chosen, r.label_source, r.resolved_at, v.judge, v.shown, v.probability
FROM pairs p JOIN prompts q ON q.id = p.prompt JOIN responses a ON a.id = p.response_a
JOIN responses b ON b.id = p.response_b LEFT JOIN resolutions r ON r.pair = p.id
LEFT JOIN verdicts v ON v.pair = p.id AND v.probability IS NOT NULL ORDER BY p.prompt, p.id
"""
_INSERT = """
INSERT INTO competency_counts (source, skill, model_a, model_b, bucket, wins_a, wins_b, ties, squares)
VALUES (:source, :skill, :model_a, :model_b, :bucket, :wins_a, :wins_b, :ties, :squares)
"""


def upgrade() -> None:
    """Replace the counts; a bucket that was merged into a wider one stays merged.

    The store does not know which judges are verifiers. Those are who judged where all counts were of probes; a judge
    that contradicted itself there was not counted.
    """
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        op.execute("LOCK TABLE competency_counts IN SHARE ROW EXCLUSIVE MODE")  # verdicts are being counted
    old = list(connection.execute(sa.text("SELECT source, skill, model_a, model_b, bucket FROM competency_counts")))
    buckets = sorted({row.bucket for row in old})
    sources: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for row in old:
        sources[_key(row.skill, row.model_a.split("#")[0], row.model_b.split("#")[0])].add(row.source)
    verifiers: set[str] = set()
    judged: dict[tuple[Any, ...], list[float]] = defaultdict(lambda: [0.0] * 4)
    for key, judges, source, resolved_at, outcome, weight, square, was_counted in _verdicts(connection):
        if was_counted and sources[key] == {"probe"}:
            verifiers |= judges
        bucket = int(resolved_at // _BUCKET_S)
        merged = bisect_right(buckets, bucket)
        cell = judged[(judges, source, *key, buckets[merged - 1] if merged else bucket)]
        cell[outcome] += weight
        cell[3] += square
    counts: dict[tuple[Any, ...], list[float]] = defaultdict(lambda: [0.0] * 4)
    for (judges, source, *rest), numbers in judged.items():
        cell = counts[("probe" if judges and judges <= verifiers else source, *rest)]
        cell[:] = [sum(both) for both in zip(cell, numbers, strict=True)]
    op.execute("DELETE FROM competency_counts")
    names = ("source", "skill", "model_a", "model_b", "bucket", "wins_a", "wins_b", "ties", "squares")
    rows = [dict(zip(names, (*key, *cell), strict=True)) for key, cell in sorted(counts.items())]
    for start in range(0, len(rows), _ROWS):
        connection.execute(sa.text(_INSERT), rows[start : start + _ROWS])


def _key(skill: str | None, first: str, second: str) -> tuple[str, ...]:
    return (skill or "", *sorted((first, second)))


def _verdicts(
    connection: sa.Connection,
) -> Iterator[tuple[tuple[str, ...], frozenset[str], str, float, int, float, float, bool]]:
    """(skill and models, judges, source, time, 0: the first model won, 1: the second, 2: none, weight, square, whether
    the pair was counted before)."""
    rows = connection.execute(sa.text(_PAIRS), execution_options={"yield_per": _ROWS})
    for _prompt, of_prompt in groupby(rows, key=lambda row: row.prompt):
        pairs = [list(of_pair) for _pair, of_pair in groupby(of_prompt, key=lambda row: row.id)]
        formed = _independent_share([(given[0].response_a, given[0].response_b) for given in pairs])
        judged = _independent_share([(given[0].response_a, given[0].response_b) for given in pairs if given[0].judged])
        for given in pairs:
            row = given[0]
            no_side = row.outcome in ("tie", "inconsistent")
            by_judges = no_side or (row.outcome == "decisive" and row.label_source == "judge")
            derived = "@" in row.stream and not row.stream.endswith("+teach")
            if by_judges and not derived and row.first != row.second:
                key = _key(row.skill, row.first, row.second)
                first_won = (row.chosen == row.response_a) == (row.first == key[1])
                weight = formed / row.judged_probability
                judges = frozenset(each.judge for each in given if each.judge is not None)
                outcome = 2 if no_side else 0 if first_won else 1
                source, was_counted = _source(given, judges), row.outcome != "inconsistent"
                square = weight * weight / judged
                yield key, judges, source, row.resolved_at, outcome, weight, square, was_counted


def _source(given: list[Any], judges: frozenset[str]) -> str:
    """As `karma.ranking.verdict_sources` had it at this revision, of judges that are no verifiers."""
    both = len(judges) == 1 and {each.shown for each in given} == {0, 1}
    return "orders" if both and all(each.probability in _NAMED for each in given) else "judge"


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
