"""Reads what was added to a store since a cursor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, func, select

from karma.data.cursor import Cursor
from karma.store import Store
from karma.store.chunks import chunks
from karma.store.deletion_tables import deletions
from karma.store.export_filter import ExportFilter
from karma.store.exported import rows
from karma.store.schema import pairs, prompts, resolutions

#: Pairs that are read in one transaction.
_AT_ONCE = 500

#: PostgreSQL gives ids before it commits, and never gives one of a transaction that failed: an id without a pair is
#: waited for until so many were given after it.
_LATE_IDS = 10_000


def growth(store: Store, kept: ExportFilter, cursor: Cursor) -> Iterator[Any]:
    """The rows of an export that are there now and unread, in order of their pairs' ids, in short transactions.

    The cursor moves with each row, so it can be kept at any row.

    Raises:
        StoreOutageError: the store is unavailable; the cursor says how far this came.
    """
    with store.reading() as transaction:
        newest = _consider_deletions(transaction.ledger.connection, cursor)
    for chunk in chunks(sorted(cursor.unread), _AT_ONCE):
        yield from _read(store, kept, cursor, list(chunk), newest)
    while cursor.after < newest:
        first = cursor.after + 1
        cursor.advance(min(newest, cursor.after + _AT_ONCE))
        yield from _read(store, kept, cursor, list(range(first, cursor.after + 1)), newest)


def _consider_deletions(connection: Connection, cursor: Cursor) -> int:
    """Free what was deleted since the cursor's last look; returns the newest id of a pair."""
    query = select(deletions.c.id, deletions.c.newest_pair).where(deletions.c.id > cursor.deletion)
    for id_, newest_pair in connection.execute(query.order_by(deletions.c.id)):
        cursor.forget_above(newest_pair)
        cursor.deletion = id_
    return int(connection.execute(select(func.coalesce(func.max(pairs.c.id), 0))).scalar_one())


def _read(store: Store, kept: ExportFilter, cursor: Cursor, ids: list[int], newest: int) -> Iterator[Any]:
    """The preferences among pairs."""
    with store.reading() as transaction:
        connection = transaction.ledger.connection
        found = rows(connection, 0, len(ids), kept, among=ids)
        settled = _settled(connection, kept, ids, newest)
    cursor.read(settled - {row.id for row in found})
    for row in found:
        cursor.read([row.id])
        yield row


def _settled(connection: Connection, kept: ExportFilter, ids: list[int], newest: int) -> set[int]:
    """Those of the pairs that are a preference or come to none; an unscored pair may still be judged."""
    query = (
        select(pairs.c.id, prompts.c.stream, prompts.c.state, resolutions.c.outcome)
        .join(prompts, prompts.c.id == pairs.c.prompt)
        .outerjoin(resolutions, resolutions.c.pair == pairs.c.id)
        .where(pairs.c.id.in_(ids))
    )
    found = {row.id: row for row in connection.execute(query)}
    settled = {id_ for id_ in ids if id_ not in found and id_ <= newest - _LATE_IDS}
    for row in found.values():
        elsewhere = kept.stream is not None and row.stream != kept.stream
        unlabeled = row.outcome is None and row.state == "done"
        if elsewhere or unlabeled or row.outcome not in (None, "unscored"):
            settled.add(row.id)
    return settled
