"""The pairs of a stream by what names them whatever their ids are, for a stream that has them judged anew."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, Text, case, cast, func, select

from karma.store.chunks import groups_in
from karma.store.pair_rows import RESPONSE_A, RESPONSE_B, resolved
from karma.store.schema import pairs, prompts, resolutions, responses


class StoredPair(NamedTuple):
    """A pair of a prompt: who gave its responses, and the policy that formed it."""

    id: int
    model_a: str
    sample_a: int
    model_b: str
    sample_b: int
    policy: str


def stored_pairs(connection: Connection, stream: str, prompt_ids: Iterable[str]) -> dict[str, list[StoredPair]]:
    """The pairs of a stream's prompts, judged or not, in the order of their ids, by the caller's ids of the prompts."""
    query = (
        resolved(
            select(
                prompts.c.prompt_id,
                pairs.c.id,
                RESPONSE_A.c.model,
                RESPONSE_A.c.sample,
                RESPONSE_B.c.model,
                RESPONSE_B.c.sample,
                pairs.c.policy,
            )
        )
        .where(prompts.c.stream == stream)
        .order_by(pairs.c.id)
    )
    return groups_in(connection, query, prompts.c.prompt_id, prompt_ids, lambda _prompt, *row: StoredPair(*row))


class LabelPair(NamedTuple):
    """The outcomes of one pair in two streams, and how many pairs have them."""

    before: str
    after: str
    same: bool | None  # whether both chose the same response; None unless both are decisive
    pairs: int


def label_pairs(connection: Connection, before: str, after: str) -> list[LabelPair]:
    """The outcomes of the pairs that two streams share and have both resolved, counted.

    A pair is the same where the prompt, the models and the samples are the same.
    """
    one, other = _outcomes(before).subquery(), _outcomes(after).subquery()
    shared = [one.c[name] == other.c[name] for name in ("prompt_id", "first", "second")]
    same = one.c.chosen == other.c.chosen
    query = (
        select(one.c.outcome, other.c.outcome, same.label("same"), func.count())
        .join(other, shared[0] & shared[1] & shared[2])
        .group_by(one.c.outcome, other.c.outcome, same)
    )
    return [
        LabelPair(row[0], row[1], None if row[2] is None else bool(row[2]), row[3]) for row in connection.execute(query)
    ]


def _outcomes(stream: str) -> Select[Any]:
    """A query for the outcomes of a stream's pairs; a response is named by its model and sample."""
    chosen = responses.alias("chosen")
    a, b = _name(RESPONSE_A), _name(RESPONSE_B)
    return (
        resolved(
            select(
                prompts.c.prompt_id,
                case((a < b, a), else_=b).label("first"),  # ids of responses depend on timing: a may be b in the other
                case((a < b, b), else_=a).label("second"),
                resolutions.c.outcome,
                _name(chosen).label("chosen"),
            )
        )
        .join(chosen, chosen.c.id == resolutions.c.chosen, isouter=True)
        .where(prompts.c.stream == stream, resolutions.c.pair.is_not(None))
    )


def _name(response: Any) -> ColumnElement[str]:
    """The model and the sample of a response in one text; null without a response."""
    return cast(response.c.sample, Text).concat(" ").concat(response.c.model)
