"""Deletes streams with all their data, in short transactions, while the pipeline may run.

A prompt goes with everything that was made of it; its row is locked first, as every stage does, so a result that comes
later finds no open item and is dropped. What the calls cost stays, under no stream's name: budgets of a day and of all
streams go by it. Ids of SQLite can be given again, so each deletion records the newest pair that was left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, FromClause, case, delete, func, insert, select
from sqlalchemy.exc import DBAPIError

from karma.config.derived_streams import MARK
from karma.errors import KarmaError, StoreError
from karma.store.chunks import execute_in
from karma.store.counting import one
from karma.store.database import Store
from karma.store.database_errors import first_line
from karma.store.deletion_tables import deletions
from karma.store.schema import (
    batches,
    gates,
    pairs,
    pauses,
    prompts,
    resolutions,
    responses,
    skill_clusters,
    streams,
    verdicts,
    work_items,
)
from karma.store.spending_tables import spending
from karma.store.sql import insert_adding
from karma.store.streams import pause

#: Prompts of one transaction.
AT_ONCE = 200

#: Takes the resolved pairs with these ids out of what was learned from them.
Withdraw = Callable[[Connection, Sequence[int]], None]

#: The stream's name in what calls of deleted streams cost.
DELETED = ""

#: Columns that refer to responses and have no index, as nothing else looks them up: without one, the database reads
#: the whole table for each response that goes.
_REFERRING = (pairs.c.response_a, pairs.c.response_b, resolutions.c.chosen, resolutions.c.rejected)


class Data(NamedTuple):
    """What streams hold, in rows."""

    prompts: int
    responses: int
    pairs: int
    verdicts: int
    preferences: int


def family(connection: Connection, stream: str) -> list[str]:
    """A stream and those that are derived from it, which have its prompts; the derived ones come first."""
    derived = select(streams.c.name).where(streams.c.name.startswith(f"{stream}{MARK}", autoescape=True))
    return [*connection.execute(derived.order_by(streams.c.name)).scalars(), stream]


def data_of(connection: Connection, names: Sequence[str]) -> Data:
    """What streams hold."""
    mine = prompts.c.stream.in_(names)
    of_prompts = {
        table: table.join(prompts, prompts.c.id == table.c.prompt) for table in (responses, pairs, resolutions)
    }
    of_verdicts = verdicts.join(pairs, pairs.c.id == verdicts.c.pair).join(prompts, prompts.c.id == pairs.c.prompt)

    def count(rows: FromClause, *more: ColumnElement[bool]) -> int:
        return one(connection, select(func.count()).select_from(rows).where(mine, *more))

    return Data(
        prompts=count(prompts),
        responses=count(of_prompts[responses]),
        pairs=count(of_prompts[pairs]),
        verdicts=count(of_verdicts),
        preferences=count(of_prompts[resolutions], resolutions.c.outcome == "decisive"),
    )


def delete_stream(store: Store, stream: str, withdraw: Withdraw | None) -> Iterator[int]:
    """Delete a stream with all its data; yields the number of prompts that each transaction deleted.

    Nothing more of it is admitted meanwhile. Cut off in the middle, it goes on at the next call.

    Args:
        store: that it is in.
        stream: its name.
        withdraw: None: competencies keep what they learned from it.

    Raises:
        KarmaError: prompts are still being added to it.
    """
    with store.transaction() as transaction:
        pause(transaction.ledger.connection, stream, transaction.ledger.now)
    with _indexed(store):
        while True:
            with store.transaction() as transaction:
                number = _delete_prompts(transaction.ledger.connection, stream, withdraw)
            if not number:
                break
            yield number
    with store.transaction() as transaction:
        connection = transaction.ledger.connection
        if connection.execute(select(prompts.c.id).where(prompts.c.stream == stream).limit(1)).first():
            raise KarmaError(
                f"prompts are still being added to the stream {stream}; stop what adds them, and run again"
            )
        _keep_spending(connection, stream)
        for table in (batches, gates, skill_clusters, pauses, spending):
            connection.execute(delete(table).where(table.c.stream == stream))
        connection.execute(delete(streams).where(streams.c.name == stream))
        newest = connection.execute(select(func.coalesce(func.max(pairs.c.id), 0))).scalar_one()
        connection.execute(insert(deletions).values(deleted_at=transaction.ledger.now, newest_pair=newest))


def _delete_prompts(connection: Connection, stream: str, withdraw: Withdraw | None) -> int:
    """Delete up to `AT_ONCE` prompts, those that wait for admission first; returns how many."""
    waiting_first = case((prompts.c.state == "accepted", 0), else_=1)
    found = select(prompts.c.id).where(prompts.c.stream == stream).order_by(waiting_first, prompts.c.id).limit(AT_ONCE)
    ids = sorted(connection.execute(found).scalars())
    locked = select(prompts.c.id).where(prompts.c.id.in_(ids)).order_by(prompts.c.id).with_for_update()
    ids = list(connection.execute(locked).scalars())
    if not ids:
        return 0
    pair_ids = list(connection.execute(select(pairs.c.id).where(pairs.c.prompt.in_(ids))).scalars())
    if withdraw is not None and pair_ids:
        withdraw(connection, pair_ids)
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete = ON")  # texts do not stay in free pages
    execute_in(connection, delete(work_items), work_items.c.prompt, ids)
    execute_in(connection, delete(resolutions), resolutions.c.pair, pair_ids)
    execute_in(connection, delete(verdicts), verdicts.c.pair, pair_ids)
    execute_in(connection, delete(pairs), pairs.c.id, pair_ids)
    execute_in(connection, delete(responses), responses.c.prompt, ids)
    execute_in(connection, delete(prompts), prompts.c.id, ids)
    return len(ids)


def _keep_spending(connection: Connection, stream: str) -> None:
    """Add what a stream's calls cost to that of deleted streams."""
    sums = [column.name for column in spending.columns if not column.primary_key]
    columns = [column for column in spending.columns if column.name != "stream"]
    rows = connection.execute(select(*columns).where(spending.c.stream == stream).order_by(*spending.primary_key))
    if kept := [{**row._mapping, "stream": DELETED} for row in rows]:
        connection.execute(insert_adding(connection, spending, *sums), kept)


@contextmanager
def _indexed(store: Store) -> Iterator[None]:
    """Indexes of the columns that refer to responses, for the time of a deletion."""
    names = {f"ix_{column.table.name}_{column.name}_deletion": column for column in _REFERRING}
    without_lock = "CONCURRENTLY " if store.engine.dialect.name == "postgresql" else ""
    try:
        for name, column in names.items():
            _define(store, f"CREATE INDEX {without_lock}IF NOT EXISTS {name} ON {column.table.name} ({column.name})")
        yield
    finally:
        for name in names:
            _define(store, f"DROP INDEX {without_lock}IF EXISTS {name}")


def _define(store: Store, statement: str) -> None:
    """Execute a statement about indexes; PostgreSQL executes one without locks outside of transactions only."""
    if store.engine.dialect.name != "postgresql":
        with store.transaction() as transaction:
            transaction.ledger.connection.exec_driver_sql(statement)
        return
    try:
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(statement)
    except DBAPIError as cause:
        raise StoreError(f"the store {store.shown_url} refuses an index: {first_line(cause)}") from cause
