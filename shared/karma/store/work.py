"""Open work and its batches: the results that are still awaited, and the message that asks for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, select, update

from karma.messages.lanes import is_express, new_batch_id
from karma.store.bulk import Insert
from karma.store.chunks import chunks, execute_in, execute_in_order
from karma.store.records import BatchLimits, BatchRow, OpenItem, Stage, Work
from karma.store.schema import PARKED, batches, work_items
from karma.store.statements import Query, among

_ITEM_COLUMNS = [work_items.c[name] for name in OpenItem._fields]
_BATCH_COLUMNS = [batches.c[name] for name in BatchRow._fields]

_OPEN = Insert(work_items, ("prompt", "stage", "target", "sample", "pair", "shown", "batch"), strict=True)
_OPEN_BATCHES = Insert(batches, ("id", "stage", "target", "stream", "priority", "created_at", "due_at"), strict=True)
_ITEMS = Query(select(*_ITEM_COLUMNS).where(among(work_items.c.id, "ids")), "ids")
_ITEMS_IN = Query(select(*_ITEM_COLUMNS).where(among(work_items.c.batch, "ids")).order_by(work_items.c.id), "ids")
_PARKED = Query(
    select(*_ITEM_COLUMNS)
    .where(work_items.c.batch == PARKED, among(work_items.c.prompt, "prompts"))
    .order_by(work_items.c.id),
    "prompts",
)
_PROMPT, _BATCH = OpenItem._fields.index("prompt"), OpenItem._fields.index("batch")
_ORDERS = Query(
    select(work_items.c.pair, work_items.c.target, work_items.c.shown).where(
        work_items.c.stage == "judge", among(work_items.c.prompt, "prompts")
    ),
    "prompts",
)
_CLOSE = Query(delete(work_items).where(among(work_items.c.id, "ids")), "ids")
_BATCHES = Query(select(*_BATCH_COLUMNS).where(among(batches.c.id, "ids")), "ids")
#: Several gateways publish, resend and forget the same batches: their rows are locked in one order.
_LOCKED = select(batches.c.id).where(among(batches.c.id, "ids")).order_by(batches.c.id).with_for_update()
_PUBLISHED = Query(
    update(batches).where(batches.c.id.in_(_LOCKED)).values(published_at=bindparam("at"), epoch=bindparam("redis")),
    *("at", "redis", "ids"),
)
_HAS_WORK = select(work_items.c.id).where(work_items.c.batch == batches.c.id).exists()
_CARRIED = Query(select(*_BATCH_COLUMNS).where(_HAS_WORK).order_by(batches.c.created_at))
_EMPTY = select(batches.c.id).where(batches.c.created_at < bindparam("before"), ~_HAS_WORK).order_by(batches.c.id)
_FORGET = Query(delete(batches).where(batches.c.id.in_(_EMPTY.with_for_update(skip_locked=True))), "before")
_OPEN_BY_STREAM = Query(
    select(batches.c.stream, func.count())
    .select_from(work_items.join(batches, batches.c.id == work_items.c.batch))
    .where(work_items.c.stage == bindparam("stage"), work_items.c.target == bindparam("target"))
    .group_by(batches.c.stream),
    *("stage", "target"),
)
_OPEN_BY_TARGET = Query(
    select(work_items.c.target, func.count())
    .where(work_items.c.stage == bindparam("stage"), work_items.c.batch != PARKED)
    .group_by(work_items.c.target),
    "stage",
)


class _Address(NamedTuple):
    """What a batch shares with the batches that follow it."""

    stage: Stage
    target: str
    stream: str
    priority: int
    express: bool = False  # the lane


class WorkList:
    """The open work within one transaction; `now` is the transaction's time in seconds since 1970.

    An item is a row that is deleted when its result is recorded, so a second result changes nothing. `opened` collects
    the batches of this transaction, which are published after the commit. New work goes into the lane `express` or not;
    what is sent again stays in its own.
    """

    def __init__(self, connection: Connection, now: float) -> None:
        self.connection = connection
        self.now = now
        self.opened: list[str] = []
        self.express = False

    def open(
        self, stage: Stage, target: str, stream: str, priority: int, work: Sequence[Work], limits: BatchLimits
    ) -> list[str]:
        """Open work in new batches; returns their ids and adds them to `opened`."""
        groups = list(_fill(work, limits))
        ids = self._new_batches([_Address(stage, target, stream, priority, self.express)] * len(groups))
        rows = [
            (item.prompt, stage, item.target or target, item.sample, item.pair, item.shown, batch)
            for batch, group in zip(ids, groups, strict=True)
            for item in group
        ]
        _OPEN.run(self.connection, rows)
        return ids

    def _new_batch(self, address: _Address, due_at: float = 0.0) -> str:
        """A batch without items. One with a due time is published by the sweeper at that time."""
        return self._new_batches([address], due_at)[0]

    def _new_batches(self, addresses: Sequence[_Address], due_at: float = 0.0) -> list[str]:
        ids = [new_batch_id(address.express) for address in addresses]
        rows = [
            (id_, address.stage, address.target, address.stream, address.priority, self.now, due_at)
            for id_, address in zip(ids, addresses, strict=True)
        ]
        _OPEN_BATCHES.run(self.connection, rows)
        if not due_at:
            self.opened.extend(ids)
        return ids

    def items(self, ids: Iterable[int]) -> dict[int, OpenItem]:
        """Those of the items that are still open, by id."""
        return {row[0]: OpenItem(*row) for row in _ITEMS.rows(self.connection, ids)}

    def items_of(self, batch: str) -> list[OpenItem]:
        """The open items of a batch, in order."""
        return self.items_in([batch]).get(batch, [])

    def items_in(self, ids: Sequence[str]) -> dict[str, list[OpenItem]]:
        """The open items of batches, in order; batches without any are left out."""
        return _ITEMS_IN.grouped(self.connection, _BATCH, OpenItem, ids)

    def open_orders(self, prompt_ids: Iterable[int]) -> set[tuple[int, str, int]]:
        """(pair, judge, order) of the open judgements of prompts."""
        return set(_ORDERS.rows(self.connection, prompt_ids))

    def close(self, ids: Iterable[int]) -> None:
        """Close items whose results are recorded."""
        _CLOSE.run(self.connection, ids)

    def batches(self, ids: Sequence[str]) -> list[BatchRow]:
        """The batches with these ids, in the order of `ids`."""
        by_id = {row[0]: BatchRow(*row) for row in _BATCHES.rows(self.connection, ids)}
        return [by_id[id_] for id_ in dict.fromkeys(ids) if id_ in by_id]

    def mark_published(self, ids: Sequence[str], epoch: str, published_at: float) -> None:
        """Record that batches were published to the Redis incarnation `epoch`."""
        _PUBLISHED.run(self.connection, published_at, epoch, ids)

    def carried(self) -> list[BatchRow]:
        """Batches with open work, oldest first."""
        return [BatchRow(*row) for row in _CARRIED.rows(self.connection)]

    def forget_empty(self, older_than: float) -> int:
        """Delete batches without open work; returns how many. Those that another transaction holds are skipped."""
        return _FORGET.run(self.connection, older_than)

    def reopen(self, rows: Sequence[BatchRow], limits: BatchLimits, counts: bool = True, due_in_s: float = 0.0) -> int:
        """Move the open items of lost batches into new ones; returns how many had any.

        If it `counts`, one more time is recorded that each was asked for again. The new batches join `opened`, or are
        due in `due_in_s` seconds. The update is conditional on the old batch, so only one of two concurrent sweepers
        moves an item.
        """
        items = self.items_in([row.id for row in rows])
        groups = [(row, group) for row in rows for group in chunks(items.get(row.id, []), limits.items)]
        if groups:
            ids = self._new_batches([_address(row) for row, _group in groups], self.now + due_in_s if due_in_s else 0.0)
            moves = [
                {"item": item.id, "old": row.id, "new": id_}
                for (row, group), id_ in zip(groups, ids, strict=True)
                for item in group
            ]
            unmoved = (work_items.c.id == bindparam("item")) & (work_items.c.batch == bindparam("old"))
            again = {"resends": work_items.c.resends + 1} if counts else {}
            moved = update(work_items).where(unmoved).values(batch=bindparam("new"), **again)
            self.connection.execute(moved, moves)
        execute_in_order(self.connection, delete(batches), batches.c.id, items)
        return len(items)

    def retry(self, row: BatchRow, error: str, due_in_s: Callable[[int], float]) -> list[OpenItem]:
        """Count an attempt at each open item of a batch, and move each into a batch of its own.

        `due_in_s` maps the number of attempts to a delay; batches without a delay join `opened`. Returns the items with
        their new batches and attempts.
        """
        retried: list[OpenItem] = []
        for item in self.items_of(row.id):
            delay_s = due_in_s(item.attempts + 1)
            batch = self._new_batch(_address(row), due_at=self.now + delay_s if delay_s else 0.0)
            unmoved = (work_items.c.id == item.id) & (work_items.c.batch == row.id)
            counted = {"attempts": work_items.c.attempts + 1, "error": error}
            self.connection.execute(update(work_items).where(unmoved).values(batch=batch, **counted))
            retried.append(item._replace(batch=batch, attempts=item.attempts + 1, error=error))
        self.connection.execute(delete(batches).where(batches.c.id == row.id))
        return retried

    def count_result_attempt(self, ids: Iterable[int], error: str) -> None:
        """Count an attempt at recording the results of items."""
        counted = {"result_attempts": work_items.c.result_attempts + 1, "error": error}
        execute_in(self.connection, update(work_items).values(**counted), work_items.c.id, ids)

    def parked(self, prompt_ids: Sequence[int]) -> dict[int, list[OpenItem]]:
        """Parked work of prompts, per prompt: open work without a batch, from which they continue (`requeue`)."""
        return _PARKED.grouped(self.connection, _PROMPT, OpenItem, prompt_ids)

    def unpark(self, items: Sequence[OpenItem], stream: str, priority: int, limits: BatchLimits) -> None:
        """Move parked work of one stage and target into new batches."""
        stage = items[0].stage
        target = items[0].target if stage in ("generate", "judge") else ""
        for group in chunks(items, limits.items):
            batch = self._new_batch(_Address(stage, target, stream, priority, self.express))
            ids = [item.id for item in group]
            self.connection.execute(update(work_items).where(work_items.c.id.in_(ids)).values(batch=batch))

    def open_by_stream(self, stage: Stage, target: str) -> dict[str, int]:
        """Number of open items of one model or judge, per stream."""
        return dict(_OPEN_BY_STREAM.rows(self.connection, stage, target))

    def open_by_target(self, stage: Stage) -> dict[str, int]:
        """Number of open items per model or judge."""
        return dict(_OPEN_BY_TARGET.rows(self.connection, stage))

    def open_by_stream_and_target(self) -> dict[tuple[str, str, str], int]:
        """Number of open items per stream, stage, and model or judge; parked ones are left out."""
        columns = batches.c.stream, work_items.c.stage, work_items.c.target
        query = select(*columns, func.count()).join(batches, batches.c.id == work_items.c.batch).group_by(*columns)
        return {(row[0], row[1], row[2]): row[3] for row in self.connection.execute(query)}


def _address(row: BatchRow) -> _Address:
    return _Address(row.stage, row.target, row.stream, row.priority, is_express(row.id))


def _fill(work: Sequence[Work], limits: BatchLimits) -> Iterator[list[Work]]:
    chunk: list[Work] = []
    filled = 0
    for item in work:
        if chunk and (len(chunk) >= limits.items or filled + item.size > limits.bytes):
            yield chunk
            chunk, filled = [], 0
        chunk.append(item)
        filled += item.size
    if chunk:
        yield chunk
