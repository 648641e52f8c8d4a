"""Requeues dead prompts, and prompts with failures that another attempt may cure.

Such a prompt becomes `accepted` again and its missing work is parked. The dispatcher admits it within the window, and
it continues where it ended. Existing responses and verdicts stay and are not paid for again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from karma.store.database import Store
from karma.store.schema import PARKED, pairs, prompts, resolutions, responses, verdicts, work_items

#: Requeues up to `AT_ONCE` prompts of a stream (None: of all) with ids above a given one; returns their ids.
Requeue = Callable[[Connection, str | None, int], Sequence[int]]

#: Prompts of one transaction.
AT_ONCE = 200


def bring_back(store: Store, requeue: Requeue, stream: str | None = None) -> Iterator[int]:
    """Requeue all prompts of a kind in short transactions; yields the number of each.

    Each prompt is requeued once: one that fails again at once, for example because its endpoint refuses every call, is
    left to the next command.
    """
    after = 0
    while True:
        with store.transaction() as transaction:
            ids = requeue(transaction.ledger.connection, stream, after)
        if not ids:
            return
        after = ids[-1]
        yield len(ids)


def requeue_dead(connection: Connection, stream: str | None = None, after: int = 0) -> Sequence[int]:
    """Requeue up to `AT_ONCE` dead prompts and reset their attempts; returns their ids, in order."""
    ids = _lock(connection, prompts.c.state == "dead", stream, after)
    if ids:
        fresh: dict[str, Any] = {"attempts": 0, "result_attempts": 0, "error": None}
        connection.execute(update(work_items).where(work_items.c.prompt.in_(ids)).values(**fresh))
        _reopen(connection, ids)
    return ids


def requeue_unanswered(connection: Connection, stream: str | None = None, after: int = 0) -> Sequence[int]:
    """Requeue up to `AT_ONCE` prompts without a pair that have failed responses; returns their ids, in order."""
    has_failures = select(responses.c.id).where(responses.c.prompt == prompts.c.id, responses.c.failure.is_not(None))
    ids = _lock(
        connection, (prompts.c.state == "done") & prompts.c.no_pair.is_not(None) & has_failures.exists(), stream, after
    )
    if ids:
        failed = responses.c.prompt.in_(ids) & responses.c.failure.is_not(None)
        query = select(responses.c.prompt, responses.c.model, responses.c.sample).where(failed).order_by(responses.c.id)
        work = [
            {"prompt": row.prompt, "stage": "generate", "target": row.model, "sample": row.sample, "batch": PARKED}
            for row in connection.execute(query)
        ]
        connection.execute(delete(responses).where(failed))
        connection.execute(insert(work_items), work)
        _reopen(connection, ids)
    return ids


def requeue_unscored(connection: Connection, stream: str | None = None, after: int = 0) -> Sequence[int]:
    """Requeue up to `AT_ONCE` prompts that have pairs without a valid verdict; returns their ids, in order."""
    has_unscored = select(resolutions.c.pair).where(
        resolutions.c.prompt == prompts.c.id, resolutions.c.outcome == "unscored"
    )
    ids = _lock(connection, (prompts.c.state == "done") & has_unscored.exists(), stream, after)
    if not ids:
        return ids
    unscored = list(
        connection.execute(
            select(resolutions.c.pair).where(resolutions.c.prompt.in_(ids), resolutions.c.outcome == "unscored")
        ).scalars()
    )
    failed = verdicts.c.pair.in_(unscored) & verdicts.c.failure.is_not(None)
    query = (
        select(pairs.c.prompt, verdicts.c.pair, verdicts.c.judge, verdicts.c.shown)
        .join(pairs, pairs.c.id == verdicts.c.pair)
        .where(failed)
        .order_by(verdicts.c.id)
    )
    work = [
        {
            "prompt": row.prompt,
            "stage": "judge",
            "target": row.judge,
            "pair": row.pair,
            "shown": row.shown,
            "batch": PARKED,
        }
        for row in connection.execute(query)
    ]
    connection.execute(delete(resolutions).where(resolutions.c.pair.in_(unscored)))
    connection.execute(delete(verdicts).where(failed))
    connection.execute(insert(work_items), work)
    awaited = Counter(row["pair"] for row in work)
    connection.execute(
        update(pairs).where(pairs.c.id == bindparam("key")).values(awaited=bindparam("left")),
        [{"key": pair, "left": count} for pair, count in awaited.items()],
    )
    _reopen(connection, ids)
    return ids


def _lock(connection: Connection, condition: Any, stream: str | None, after: int) -> Sequence[int]:
    query = (
        select(prompts.c.id)
        .where(condition, prompts.c.id > after)
        .order_by(prompts.c.id)
        .limit(AT_ONCE)
        .with_for_update()
    )
    if stream is not None:
        query = query.where(prompts.c.stream == stream)
    return list(connection.execute(query).scalars())


def _reopen(connection: Connection, ids: Sequence[int]) -> None:
    fresh: dict[str, Any] = {"state": "accepted", "no_pair": None, "error": None, "ended_at": None}
    connection.execute(update(prompts).where(prompts.c.id.in_(ids)).values(**fresh))
