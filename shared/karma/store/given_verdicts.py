"""Verdicts that came with a prompt's given responses: ratings of one judge, kept beside the prompt's metadata.

Who is rated higher is better, and equal ratings are a tie, so that every pair of rated responses has a verdict.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from karma.store.pair_rows import RESPONSE_A, RESPONSE_B, joined
from karma.store.schema import pairs, prompts

#: The key of a prompt's metadata: `{"by": judge or null, "of": [[model, sample, rating], …]}`.
RATINGS = "karma_ratings"

_MARK = f'"{RATINGS}"'

#: (model, sample) of a response.
Side = tuple[str, int]


def ratings_by(metadata: str | None, judge: str) -> Mapping[Side, float]:
    """The ratings by a judge in a prompt's metadata; empty where it said nothing, or nothing can be read."""
    if metadata is None or _MARK not in metadata:
        return {}
    by, ratings = _ratings(metadata)
    return ratings if by == judge else {}


def _ratings(metadata: str) -> tuple[str | None, Mapping[Side, float]]:
    try:
        kept = json.loads(metadata)[RATINGS]
        return kept["by"], {(model, sample): float(rating) for model, sample, rating in kept["of"]}
    except (ValueError, TypeError, KeyError, RecursionError):  # a text of the caller's that holds this name
        return None, {}


def preferred(ratings: Mapping[Side, float], first: Side, second: Side) -> float | None:
    """P(the first is better): 1, 0, or 0.5 for a tie; None where one has no rating."""
    if first not in ratings or second not in ratings:
        return None
    difference = ratings[first] - ratings[second]
    return 0.5 if difference == 0 else float(difference > 0)


class GivenVerdict(NamedTuple):
    """A verdict that came with a prompt, on a pair that was formed since."""

    pair: int
    judge: str
    probability: float  # that response a is better: 1, 0, or 0.5 for a tie


def given_verdicts(
    connection: Connection, stream: str, after: int, limit: int
) -> tuple[list[GivenVerdict], int | None]:
    """The verdicts on at most `limit` of a stream's pairs with ids above `after`; and the id to go on after, if any."""
    query = (
        joined(
            select(
                *(pairs.c.id, prompts.c.metadata),
                *(RESPONSE_A.c.model, RESPONSE_A.c.sample, RESPONSE_B.c.model, RESPONSE_B.c.sample),
            )
        )
        .join(prompts, prompts.c.id == pairs.c.prompt)
        .where(prompts.c.stream == stream, pairs.c.id > after, prompts.c.metadata.contains(_MARK, autoescape=True))
        .order_by(pairs.c.id)
        .limit(limit)
    )
    rows = connection.execute(query).all()
    found = list(_verdicts(rows))
    return found, rows[-1][0] if len(rows) == limit else None


def _verdicts(rows: Any) -> Iterator[GivenVerdict]:
    for pair, metadata, model_a, sample_a, model_b, sample_b in rows:
        judge, ratings = _ratings(metadata)
        probability = preferred(ratings, (model_a, sample_a), (model_b, sample_b))
        if judge is not None and probability is not None:
            yield GivenVerdict(pair, judge, probability)
