"""Requeues dead prompts, and prompts with failures that another attempt may cure.

Such a prompt becomes `accepted` again and its missing work is parked. The dispatcher admits it within the window, and
it continues where it ended. Existing responses and verdicts stay and are not paid for again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal

from sqlalchemy import Connection, Select, delete, func, insert, literal, select, update

from karma.store.chunks import chunks
from karma.store.database import Store
from karma.store.prompt_states import IS_DEAD, IS_DONE
from karma.store.records import Stage
from karma.store.schema import PARKED, pairs, prompts, resolutions, responses, verdicts, work_items
from karma.telemetry.failure_kinds import may_pass

#: Requeues up to `AT_ONCE` prompts of a stream (None: of all) with ids above a given one; returns their ids.
Requeue = Callable[[Connection, str | None, int], Sequence[int]]

#: Takes resolved pairs with these ids out of the competency counts (`karma_scoring.withdrawal`).
Withdraw = Callable[[Connection, Sequence[int]], None]

#: What can be requeued: dead prompts, failed calls (no pair, no valid verdict, the verdicts of one judge), or both.
What = Literal["dead", "failed", "all"]

#: Prompts of one transaction.
AT_ONCE = 200


def requeue(
    store: Store,
    what: What,
    withdraw: Withdraw | None,
    stream: str | None = None,
    follow: Callable[[int], None] = lambda _prompts: None,
) -> dict[str, int]:
    """Requeue prompts; returns the number of each kind: dead, without_pair, missing_verdicts, unscored.

    Args:
        store: to change.
        what: which kinds.
        withdraw: for missing verdicts; without it they are not looked for.
        stream: None: of all streams.
        follow: is called with the number of prompts of each transaction.
    """
    kinds: dict[str, Requeue] = {"dead": requeue_dead, "without_pair": requeue_unanswered}
    if withdraw is not None:  # before the unscored ones: prompts may have pairs of both kinds
        kinds["missing_verdicts"] = partial(requeue_incomplete, withdraw)
    kinds["unscored"] = requeue_unscored
    counts = {"missing_verdicts": 0, **dict.fromkeys(kinds, 0)}
    for kind, found in kinds.items():
        if what == "all" or (kind == "dead") == (what == "dead"):
            for requeued in bring_back(store, found, stream):
                counts[kind] += requeued
                follow(requeued)
    return counts


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
    ids = _lock(connection, IS_DEAD, stream, after)
    if ids:
        fresh: dict[str, Any] = {"attempts": 0, "result_attempts": 0, "error": None}
        connection.execute(update(work_items).where(work_items.c.prompt.in_(ids)).values(**fresh))
        _reopen(connection, ids)
    return ids


def requeue_unanswered(connection: Connection, stream: str | None = None, after: int = 0) -> Sequence[int]:
    """Requeue up to `AT_ONCE` prompts without a pair that have failed responses; returns their ids, in order."""
    has_failures = select(responses.c.id).where(responses.c.prompt == prompts.c.id, responses.c.failure.is_not(None))
    ids = _lock(connection, IS_DONE & prompts.c.no_pair.is_not(None) & has_failures.exists(), stream, after)
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
    ids = _lock(connection, IS_DONE & has_unscored.exists(), stream, after)
    if ids:
        failed = [row.id for row in _failed_verdicts(connection, ids) if row.outcome == "unscored"]
        _judge_again(connection, ids, failed)
    return ids


def requeue_incomplete(
    withdraw: Withdraw,
    connection: Connection,
    stream: str | None = None,
    after: int = 0,
) -> Sequence[int]:
    """Requeue up to `AT_ONCE` prompts with pairs that were resolved without some verdict; returns their ids, in order.

    Such a verdict failed for a reason that may have passed (`may_pass`), while another one on its pair is valid. The
    pair is open again until the verdict is given, and is then resolved by all. Pairs of these prompts without any valid
    verdict are judged again, too.

    Args:
        withdraw: takes the pairs with these ids, which are still resolved, out of the competency counts.
        connection: of the transaction.
        stream: None: of all streams.
        after: an id.
    """
    has_failed = (
        select(verdicts.c.id)
        .join(pairs, pairs.c.id == verdicts.c.pair)
        .join(resolutions, resolutions.c.pair == pairs.c.id)
        .where(pairs.c.prompt == prompts.c.id, verdicts.c.failure.is_not(None), resolutions.c.outcome != "unscored")
    )
    while locked := _lock(connection, IS_DONE & has_failed.exists(), stream, after):
        failed = _failed_verdicts(connection, locked)
        passing = [row for row in failed if row.outcome != "unscored" and may_pass(row.failure)]
        if ids := sorted({row.prompt for row in passing}):
            withdraw(connection, sorted({row.pair for row in passing}))
            unscored = [row for row in failed if row.outcome == "unscored" and row.prompt in ids]
            _judge_again(connection, ids, [row.id for row in (*passing, *unscored)])
            return ids
        after = locked[-1]
    return []


def _failed_verdicts(connection: Connection, ids: Sequence[int]) -> list[Any]:
    """The failed verdicts on the resolved pairs of prompts: `id`, `pair`, `prompt`, `failure`, and their `outcome`."""
    columns = verdicts.c.id, verdicts.c.pair, pairs.c.prompt, verdicts.c.failure, resolutions.c.outcome
    query = (
        select(*columns)
        .join(pairs, pairs.c.id == verdicts.c.pair)
        .join(resolutions, resolutions.c.pair == pairs.c.id)
        .where(pairs.c.prompt.in_(ids), verdicts.c.failure.is_not(None))
    )
    return list(connection.execute(query))


def _judge_again(connection: Connection, ids: Sequence[int], failed: Sequence[int]) -> None:
    """Reopen the pairs of these failed verdicts, and the prompts with these ids, to which they belong."""
    for chunk in chunks(failed):
        among = verdicts.c.id.in_(chunk)
        columns = {"prompt": pairs.c.prompt, "target": verdicts.c.judge, "pair": pairs.c.id, "shown": verdicts.c.shown}
        asked = select(verdicts.c.id).join(pairs, pairs.c.id == verdicts.c.pair).where(among).order_by(verdicts.c.id)
        _park(connection, "judge", columns, asked)
        awaited = select(func.count()).where(among, verdicts.c.pair == pairs.c.id).scalar_subquery()
        reopened = list(connection.execute(select(verdicts.c.pair).where(among).distinct()).scalars())
        waits = pairs.c.id.in_(reopened)
        connection.execute(update(pairs).where(waits).values(awaited=pairs.c.awaited + awaited))
        connection.execute(delete(resolutions).where(resolutions.c.pair.in_(reopened)))
        connection.execute(delete(verdicts).where(among))
    _reopen(connection, ids)


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
    fresh: dict[str, Any] = {"state": "accepted", "admitted": 0, "no_pair": None, "error": None, "ended_at": None}
    connection.execute(update(prompts).where(prompts.c.id.in_(ids)).values(**fresh))
