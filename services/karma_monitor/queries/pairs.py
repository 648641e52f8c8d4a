"""One pair with all its texts and verdicts; wins, snapshots and judge budgets. Nothing here locks or writes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select

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


def pair_with_texts(connection: Connection, pair: int) -> Any | None:
    """One pair with its prompt, both responses and its resolution; None where no pair has the id."""
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
            resolutions.c.weights,
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
    """The competencies of one refit (`karma.ranking.snapshot_archive`); None where it is not kept any more."""
    body: bytes | None = connection.execute(select(snapshots.c.body).where(snapshots.c.version == version)).scalar()
    return body


def judge_budgets(connection: Connection, stream: str | None = None, limit: int = 200) -> list[Any]:
    """The judge budgets with the pairs that they saw and judged, those that saw most first; `body` is their JSON."""
    query = select(gates).order_by(gates.c.seen.desc()).limit(limit)
    return list(connection.execute(query if stream is None else query.where(gates.c.stream == stream)))
