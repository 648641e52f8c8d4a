"""Reads pairs with the models, lengths and qualities of their responses, without the texts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, func, select

from karma.ranking.judge_plan import JudgePlan
from karma.ranking.orders import OrderPlan
from karma.ranking.verdict_weights import PromptPair, PromptWeight, prompt_weight
from karma.store.chunks import chunks
from karma.store.records import PairRecord, PairRow, VerdictRow
from karma.store.resolution_weights import weighed_of
from karma.store.schema import pairs, prompts, resolutions, responses, verdicts
from karma.store.statements import Query, among

#: Of pairs about which the posterior was asked (`label_at`): whether it was sure. Matching writes it to the reasons.
IS_SURE = pairs.c.reasons.contains('"sure": true', autoescape=True)
IS_UNSURE = pairs.c.reasons.contains('"sure": false', autoescape=True)
#: Pairs of a cascade, those whose first judge was asked alone at first, those that the audit drew; of several judges.
IS_CASCADE = pairs.c.reasons.contains('"judge_audit_share": ', autoescape=True)
IS_FIRST_ALONE = pairs.c.reasons.contains('"judges_why": "first"', autoescape=True)
IS_JUDGE_AUDIT = pairs.c.reasons.contains('"judges_why": "audit"', autoescape=True)
HAS_SEVERAL_JUDGES = (
    select(func.count(verdicts.c.judge.distinct())).where(verdicts.c.pair == pairs.c.id).scalar_subquery() > 1
)

#: The two responses of a pair in `joined`.
RESPONSE_A, RESPONSE_B = responses.alias("a"), responses.alias("b")


def _column(name: str) -> ColumnElement[Any]:
    """The column behind a field of `PairRow`."""
    if name == "win_probability":
        return pairs.c.reasons
    field, _, side = name.rpartition("_")
    if field in ("model", "length", "quality"):
        response = RESPONSE_A if side == "a" else RESPONSE_B
        length = func.coalesce(func.length(response.c.text), 0)
        return (length if field == "length" else response.c[field]).label(name)
    return pairs.c[name]


_IN_REASONS = ("orders", "sure", "competency_a", "competency_b", "judges", "canary")
_FIELDS = tuple(name for name in PairRow._fields if name not in _IN_REASONS)
_PAIR_COLUMNS = [_column(name) for name in _FIELDS]
_REASONS = _FIELDS.index("win_probability")
_VERDICT_COLUMNS = [verdicts.c[name] for name in VerdictRow._fields]
_RESOLUTION_COLUMNS = [
    resolutions.c[name] for name in ("outcome", "chosen", "probability", "label_source", "resolved_at", "weights")
]


def joined(query: Select[Any]) -> Select[Any]:
    """The query over pairs with both responses."""
    return (
        query.select_from(pairs)
        .join(RESPONSE_A, RESPONSE_A.c.id == pairs.c.response_a)
        .join(RESPONSE_B, RESPONSE_B.c.id == pairs.c.response_b)
    )


def resolved(query: Select[Any]) -> Select[Any]:
    """The query over pairs with both responses, their prompt, and their resolution (null while open)."""
    return (
        joined(query)
        .join(prompts, prompts.c.id == pairs.c.prompt)
        .join(resolutions, resolutions.c.pair == pairs.c.id, isouter=True)
    )


_PAIRS = Query(joined(select(*_PAIR_COLUMNS)).where(among(pairs.c.id, "ids")), "ids")
_VERDICTS = Query(
    select(*_VERDICT_COLUMNS).where(among(verdicts.c.pair, "pairs")).order_by(verdicts.c.id),
    "pairs",
)
_FORMED = Query(
    select(*(pairs.c[name] for name in PromptPair._fields)).where(among(pairs.c.prompt, "prompts")),
    "prompts",
)


def pair_rows(connection: Connection, ids: Iterable[int]) -> dict[int, PairRow]:
    """Pairs by their ids."""
    return {row[0]: _pair_row(row) for row in _PAIRS.rows(connection, ids)}


def verdict_rows(connection: Connection, ids: Iterable[int]) -> dict[int, list[VerdictRow]]:
    """The verdicts on pairs, by pair, in the order in which they were recorded."""
    return _VERDICTS.grouped(connection, VerdictRow._fields.index("pair"), VerdictRow, ids)


def prompt_weights(connection: Connection, prompt_ids: Iterable[int]) -> dict[int, PromptWeight]:
    """How much the verdicts on the pairs of each prompt count."""
    formed = _FORMED.grouped(connection, PromptPair._fields.index("prompt"), PromptPair, prompt_ids)
    return {prompt: prompt_weight(group) for prompt, group in formed.items()}


def pair_records(connection: Connection, ids: Sequence[int]) -> list[PairRecord]:
    """Pairs with their outcomes and verdicts, by their ids."""
    return [record for chunk in chunks(list(ids)) for record in _records(connection, pairs.c.id.in_(chunk))]


def pair_records_after(
    connection: Connection, after: int, limit: int, streams: Sequence[str] | None = None
) -> list[PairRecord]:
    """Up to `limit` pairs with ids above `after`, in the order of their ids; of `streams`, or of all."""
    ids = resolved(select(pairs.c.id)).where(pairs.c.id > after).order_by(pairs.c.id).limit(limit)
    if streams is not None:
        ids = ids.where(prompts.c.stream.in_(list(streams)))
    return pair_records(connection, list(connection.execute(ids).scalars()))


def _records(connection: Connection, condition: ColumnElement[bool]) -> Iterator[PairRecord]:
    query = resolved(select(*_PAIR_COLUMNS, *_RESOLUTION_COLUMNS, prompts.c.stream)).where(condition)
    rows = connection.execute(query.order_by(pairs.c.id)).all()
    given = verdict_rows(connection, [row.id for row in rows])
    for row in rows:
        yield PairRecord(
            pair=_pair_row(row),
            stream=row.stream,
            outcome=row.outcome,
            a_is_chosen=row.chosen is not None and row.chosen == row.response_a,
            probability=row.probability,
            label_source=row.label_source,
            resolved_at=row.resolved_at or 0.0,
            verdicts=given.get(row.id, ()),
            weighed=weighed_of(row.weights),
        )


class _Reasons(msgspec.Struct):
    """The parts of a pair's reasons that are fields of `PairRow`."""

    win_probability: Any = None
    orders: Any = None
    sure: Any = None
    competency_a: Any = None
    competency_b: Any = None
    judges: Any = None
    canary: Any = None


_decode = msgspec.json.Decoder(_Reasons).decode


def _pair_row(row: Any) -> PairRow:
    values = list(row[: len(_FIELDS)])
    reasons = _read(values[_REASONS])
    values[_REASONS] = reasons.win_probability
    orders, judges = OrderPlan.from_dict(reasons.orders), JudgePlan.from_dict(reasons.judges)
    others = reasons.sure, reasons.competency_a, reasons.competency_b
    return PairRow._make((*values, orders, *others, judges, reasons.canary and tuple(reasons.canary)))


def _read(reasons: str) -> _Reasons:
    try:
        return _decode(reasons)
    except msgspec.DecodeError:  # a number that is not finite, which `json` writes and JSON does not have
        return msgspec.convert(json.loads(reasons), _Reasons)
