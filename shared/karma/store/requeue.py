"""Requeues dead prompts, and prompts with failures that another attempt may cure.

Such a prompt becomes `accepted` again and its missing work is parked. The dispatcher admits it within the window, and
it continues where it ended. Existing responses and verdicts stay and are not paid for again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Select, delete, func, insert, literal, select, update

from karma.store.database import Store
from karma.store.records import Stage
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
        columns = {"prompt": responses.c.prompt, "target": responses.c.model, "sample": responses.c.sample}
        _park(connection, "generate", columns, select(responses.c.id).where(failed).order_by(responses.c.id))
        connection.execute(delete(responses).where(failed))
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
    awaited = select(func.count()).where(failed, verdicts.c.pair == pairs.c.id).scalar_subquery()
    connection.execute(update(pairs).where(pairs.c.id.in_(unscored)).values(awaited=awaited))
    columns = {"prompt": pairs.c.prompt, "target": verdicts.c.judge, "pair": pairs.c.id, "shown": verdicts.c.shown}
    asked = select(verdicts.c.id).join(pairs, pairs.c.id == verdicts.c.pair).where(failed).order_by(verdicts.c.id)
    _park(connection, "judge", columns, asked)
    connection.execute(delete(resolutions).where(resolutions.c.pair.in_(unscored)))
    connection.execute(delete(verdicts).where(failed))
    _reopen(connection, ids)
    return ids


def _park(connection: Connection, stage: Stage, columns: dict[str, Any], failures: Select[Any]) -> None:
    """Open parked work for failed rows: `columns` are those of the work, as the query `failures` reads them."""
    parked = {**columns, "stage": literal(stage), "batch": literal(PARKED)}
    connection.execute(insert(work_items).from_select(list(parked), failures.with_only_columns(*parked.values())))


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
