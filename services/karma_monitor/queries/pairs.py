"""Looking back: what was asked, paired, judged and resolved, as `explain`, `report`, `rematch` and the page read it.

Nothing here locks or writes. Long tables are read in pieces by the ids of their rows, so that no piece keeps a
transaction open for long; texts are measured in the database and stay there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Select, case, func, select

from karma.store.schema import (
    competency_counts,
    gates,
    pairs,
    prompts,
    resolutions,
    responses,
    snapshots,
    verdicts,
)

#: Rows read in one piece.
ROWS_AT_ONCE = 5_000


def pair_with_texts(connection: Connection, pair: int) -> Any | None:
    """One pair with its prompt, both responses and what it came to; None where no pair has the id."""
    a, b = responses.alias("a"), responses.alias("b")
    query = (
        select(
            pairs,
            *(prompts.c[name] for name in ("stream", "prompt_id", "messages", "skill", "reference", "state")),
            *(a.c[name].label(f"{name}_a") for name in ("model", "sample", "text", "quality")),
            *(b.c[name].label(f"{name}_b") for name in ("model", "sample", "text", "quality")),
            *(
                resolutions.c[name]
                for name in ("outcome", "chosen", "rejected", "probability", "flipped", "label_source", "reason")
            ),
            resolutions.c.predicted.label("predicted_late"),
        )
        .join(prompts, prompts.c.id == pairs.c.prompt)
        .join(a, a.c.id == pairs.c.response_a)
        .join(b, b.c.id == pairs.c.response_b)
        .join(resolutions, resolutions.c.pair == pairs.c.id, isouter=True)
        .where(pairs.c.id == pair)
    )
    return connection.execute(query).one_or_none()


def verdicts_on(connection: Connection, pair: int) -> list[Any]:
    """The verdicts on one pair with their rationales, by judge and order."""
    query = select(verdicts).where(verdicts.c.pair == pair).order_by(verdicts.c.judge, verdicts.c.shown, verdicts.c.id)
    return list(connection.execute(query))


_PAIR_COLUMNS = ("id", "prompt", "response_a", "policy", "reasons", "information", "judged", "judged_probability")


def measured_pairs(connection: Connection, after: int, streams: Sequence[str] | None = None) -> list[Any]:
    """Up to `ROWS_AT_ONCE` pairs with ids above `after`, in their order: what is known of them, without their texts.

    Lengths are in characters; `outcome` is null while the pair is open; `predicted` is P(a better | decisive) without
    the pair's own verdicts, null where nothing needed it.
    """
    query = measured_joins(select(*measured_columns())).where(pairs.c.id > after)
    return list(connection.execute(_only(query.order_by(pairs.c.id).limit(ROWS_AT_ONCE), streams)))


_A, _B = responses.alias("a"), responses.alias("b")


def measured_columns() -> list[ColumnElement[Any]]:
    """What `measured_pairs` gives of a pair; `measured_joins` brings in the tables."""
    return [
        *(pairs.c[name] for name in _PAIR_COLUMNS),
        prompts.c.stream,
        _A.c.model.label("model_a"),
        _B.c.model.label("model_b"),
        func.length(_A.c.text).label("length_a"),
        func.length(_B.c.text).label("length_b"),
        _A.c.quality.label("quality_a"),
        _B.c.quality.label("quality_b"),
        *(resolutions.c[name] for name in ("outcome", "chosen", "flipped", "label_source", "predicted")),
    ]


def responses_of_pairs() -> tuple[FromClause, FromClause]:
    """The two responses of a pair in `measured_joins`."""
    return _A, _B


def measured_joins(query: Select[Any]) -> Select[Any]:
    """Pairs with their prompts, both responses and what they came to, which is null while they are open."""
    return (
        query.select_from(pairs)
        .join(prompts, prompts.c.id == pairs.c.prompt)
        .join(_A, _A.c.id == pairs.c.response_a)
        .join(_B, _B.c.id == pairs.c.response_b)
        .join(resolutions, resolutions.c.pair == pairs.c.id, isouter=True)
    )


def judge_calls(connection: Connection, streams: Sequence[str] | None = None, margin: float = 0.05) -> list[Any]:
    """Per stream, policy and judge: verdicts, failures, tokens, and how often the first or the second shown won.

    `first` and `second` count verdicts of judges that saw both orders; within `margin` of 0.5 neither won.
    """
    two_orders = (
        select(verdicts.c.judge).where(verdicts.c.shown == 1).distinct().subquery()
    )  # a judge that is never shown b first says nothing about positions

    def share(condition: Any) -> Any:
        return func.sum(case((condition, 1), else_=0))

    ordered = two_orders.c.judge.is_not(None)
    query = (
        select(
            prompts.c.stream,
            pairs.c.policy,
            verdicts.c.judge,
            func.count().label("calls"),
            share(verdicts.c.failure.is_not(None)).label("failed"),
            share(ordered & (verdicts.c.probability > 0.5 + margin)).label("first"),
            share(ordered & (verdicts.c.probability < 0.5 - margin)).label("second"),
            func.sum(func.coalesce(verdicts.c.tokens_in, 0)).label("tokens_in"),
            func.sum(func.coalesce(verdicts.c.tokens_out, 0)).label("tokens_out"),
            func.count(func.coalesce(verdicts.c.tokens_in, verdicts.c.tokens_out)).label("metered"),
        )
        .join(pairs, pairs.c.id == verdicts.c.pair)
        .join(prompts, prompts.c.id == pairs.c.prompt)
        .join(two_orders, two_orders.c.judge == verdicts.c.judge, isouter=True)
        .group_by(prompts.c.stream, pairs.c.policy, verdicts.c.judge)
        .order_by(prompts.c.stream, pairs.c.policy, verdicts.c.judge)
    )
    return list(connection.execute(_only(query, streams)))


def prompt_states(connection: Connection, streams: Sequence[str] | None = None) -> list[Any]:
    """Per stream and state: how many prompts (`count`), and how many of them ended without a pair (`without_pair`)."""
    query = (
        select(
            prompts.c.stream,
            prompts.c.state,
            func.count().label("count"),
            func.count(prompts.c.no_pair).label("without_pair"),
        )
        .group_by(prompts.c.stream, prompts.c.state)
        .order_by(prompts.c.stream, prompts.c.state)
    )
    return list(connection.execute(_only(query, streams)))


def counted_wins(connection: Connection, skill: str | None) -> list[Any]:
    """The competency counts of every two models, in one skill or in all (None), with the sum of squared weights.

    Former models, which were swapped under their names, are left out.
    """
    columns = competency_counts.c
    sums = [func.sum(columns[name]).label(name) for name in ("wins_a", "wins_b", "ties", "squares")]
    query = select(columns.model_a, columns.model_b, *sums).group_by(columns.model_a, columns.model_b)
    query = query.where(columns.model_a.not_like("%#%"), columns.model_b.not_like("%#%"))
    return list(connection.execute(query if skill is None else query.where(columns.skill == skill)))


def snapshot_body(connection: Connection, version: int) -> bytes | None:
    """The competencies of one refit (`Snapshot.from_bytes`); None where it is not kept any more."""
    body: bytes | None = connection.execute(select(snapshots.c.body).where(snapshots.c.version == version)).scalar()
    return body


def gate_figures(connection: Connection, stream: str | None = None, limit: int = 200) -> list[Any]:
    """What gates have seen and sent to judges, pairs; those that saw most first."""
    query = select(gates.c.stream, gates.c.seen, gates.c.judged).order_by(gates.c.seen.desc()).limit(limit)
    return list(connection.execute(query if stream is None else query.where(gates.c.stream == stream)))


def gate_states(connection: Connection, limit: int = 200) -> list[tuple[str, str]]:
    """The gates as they are kept, (stream, JSON of its state); those that saw most first."""
    query = select(gates.c.stream, gates.c.body).order_by(gates.c.seen.desc()).limit(limit)
    return [(row.stream, row.body) for row in connection.execute(query)]


def _only(query: Select[Any], streams: Iterable[str] | None) -> Select[Any]:
    return query if streams is None else query.where(prompts.c.stream.in_(list(streams)))
