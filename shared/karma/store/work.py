"""Open work and the batches that carry it: which results are still awaited, and in which message each is asked for."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from karma.store.chunks import ITEMS_PER_QUERY, chunks
from karma.store.records import BatchLimits, BatchRow, OpenItem, Stage, Work
from karma.store.schema import PARKED, batches, work_items

_ITEM_COLUMNS = [work_items.c[name] for name in OpenItem.__dataclass_fields__]
_BATCH_COLUMNS = [batches.c[name] for name in BatchRow.__dataclass_fields__]


class WorkList:
    """The open work within one transaction; `now` is the transaction's time in seconds since 1970.

    An item is a row that goes when its result is written: a second result finds none and changes nothing. `opened`
    collects the batches that this transaction opened: they are published after the commit.
    """

    def __init__(self, connection: Connection, now: float) -> None:
        self.connection = connection
        self.now = now
        self.opened: list[str] = []

    def open(
        self, stage: Stage, target: str, stream: str, priority: int, work: Sequence[Work], limits: BatchLimits
    ) -> list[str]:
        """Open work and put it into batches; returns the batches' ids and remembers them in `opened`."""
        ids = []
        for chunk in _fill(work, limits):
            batch = self._new_batch(stage, target, stream, priority)
            ids.append(batch)
            self.connection.execute(
                insert(work_items),
                [
                    {
                        "prompt": one.prompt,
                        "stage": stage,
                        "target": one.target or target,
                        "sample": one.sample,
                        "pair": one.pair,
                        "shown": one.shown,
                        "batch": batch,
                    }
                    for one in chunk
                ],
            )
        return ids

    def _new_batch(self, stage: Stage, target: str, stream: str, priority: int, due_at: float = 0.0) -> str:
        """A batch without items yet. One with a moment of its own is sent then, by the sweeper, and not before."""
        return self._new_batches([(stage, target, stream, priority)], due_at)[0]

    def _new_batches(self, addresses: Sequence[tuple[Stage, str, str, int]], due_at: float = 0.0) -> list[str]:
        ids = [secrets.token_hex(8) for _address in addresses]
        self.connection.execute(
            insert(batches),
            [
                {
                    "id": id_,
                    "token": secrets.token_hex(8),
                    "stage": stage,
                    "target": target,
                    "stream": stream,
                    "priority": priority,
                    "created_at": self.now,
                    "due_at": due_at,
                }
                for id_, (stage, target, stream, priority) in zip(ids, addresses, strict=True)
            ],
        )
        if not due_at:
            self.opened.extend(ids)
        return ids

    def items(self, ids: Iterable[int]) -> dict[int, OpenItem]:
        """Those of the items that are still open."""
        found: dict[int, OpenItem] = {}
        for chunk in chunks(sorted(set(ids)), ITEMS_PER_QUERY):
            query = select(*_ITEM_COLUMNS).where(work_items.c.id.in_(chunk))
            found.update((row.id, OpenItem(*row)) for row in self.connection.execute(query))
        return found

    def items_of(self, batch: str) -> list[OpenItem]:
        """The open items of a batch, in order."""
        return self.items_in([batch]).get(batch, [])

    def items_in(self, ids: Sequence[str]) -> dict[str, list[OpenItem]]:
        """The open items of each of some batches, in order; a batch without any is left out."""
        found: dict[str, list[OpenItem]] = {}
        for chunk in chunks(list(ids), ITEMS_PER_QUERY):
            query = select(*_ITEM_COLUMNS).where(work_items.c.batch.in_(chunk)).order_by(work_items.c.id)
            for row in self.connection.execute(query):
                found.setdefault(row.batch, []).append(OpenItem(*row))
        return found

    def close(self, ids: Iterable[int]) -> None:
        """Close items whose results are written."""
        for chunk in chunks(sorted(ids), ITEMS_PER_QUERY):
            self.connection.execute(delete(work_items).where(work_items.c.id.in_(chunk)))

    def batches(self, ids: Sequence[str]) -> list[BatchRow]:
        """The batches of these ids, in the order of their opening."""
        found: list[BatchRow] = []
        for chunk in chunks(list(ids), ITEMS_PER_QUERY):
            query = select(*_BATCH_COLUMNS).where(batches.c.id.in_(chunk))
            found.extend(BatchRow(*row) for row in self.connection.execute(query))
        order = {id_: place for place, id_ in enumerate(ids)}
        return sorted(found, key=lambda row: order[row.id])

    def mark_published(self, ids: Sequence[str], epoch: str, published_at: float) -> None:
        """Remember that batches were handed to the Redis of an epoch."""
        for chunk in chunks(list(ids), ITEMS_PER_QUERY):
            self.connection.execute(
                update(batches).where(batches.c.id.in_(chunk)).values(published_at=published_at, epoch=epoch)
            )

    def carried(self) -> list[BatchRow]:
        """Batches that carry open work, oldest first."""
        has_work = select(work_items.c.id).where(work_items.c.batch == batches.c.id).exists()
        query = select(*_BATCH_COLUMNS).where(has_work).order_by(batches.c.created_at)
        return [BatchRow(*row) for row in self.connection.execute(query)]

    def forget_empty(self, older_than: float) -> int:
        """Remove the rows of batches without open work; returns how many."""
        has_work = select(work_items.c.id).where(work_items.c.batch == batches.c.id).exists()
        result = self.connection.execute(delete(batches).where(batches.c.created_at < older_than, ~has_work))
        return int(result.rowcount)

    def reopen(self, rows: Sequence[BatchRow], limits: BatchLimits) -> int:
        """Take the open items of each lost batch into a new one, which joins `opened`; returns how many had any.

        The update is conditional on the old batch, so of two sweepers one does it.
        """
        found = self.items_in([row.id for row in rows])
        groups = [(row, group) for row in rows for group in chunks(found.get(row.id, []), limits.items)]
        if groups:
            ids = self._new_batches([_address(row) for row, _group in groups])
            moves = [
                {"item": item.id, "old": row.id, "new": id_}
                for (row, group), id_ in zip(groups, ids, strict=True)
                for item in group
            ]
            mine = (work_items.c.id == bindparam("item")) & (work_items.c.batch == bindparam("old"))
            self.connection.execute(update(work_items).where(mine).values(batch=bindparam("new")), moves)
        self._drop(found)
        return len(found)

    def retry(self, row: BatchRow, error: str, due_in_s: Callable[[int], float]) -> list[OpenItem]:
        """Count an attempt at each open item of a batch; from then on each travels alone.

        `due_in_s` gives the delay after so many attempts; batches without one join `opened`. Returns the items with
        their new batches and counts.
        """
        taken: list[OpenItem] = []
        for item in self.items_of(row.id):
            delay_s = due_in_s(item.attempts + 1)
            batch = self._new_batch(*_address(row), due_at=self.now + delay_s if delay_s else 0.0)
            mine = (work_items.c.id == item.id) & (work_items.c.batch == row.id)
            counted = {"attempts": work_items.c.attempts + 1, "error": error}
            self.connection.execute(update(work_items).where(mine).values(batch=batch, **counted))
            taken.append(replace(item, batch=batch, attempts=item.attempts + 1, error=error))
        self._drop([row.id])
        return taken

    def _drop(self, ids: Iterable[str]) -> None:
        for chunk in chunks(sorted(ids), ITEMS_PER_QUERY):
            self.connection.execute(delete(batches).where(batches.c.id.in_(chunk)))

    def count_result_attempt(self, ids: Iterable[int], error: str) -> None:
        """Count an attempt at recording the results of items."""
        for chunk in chunks(sorted(ids), ITEMS_PER_QUERY):
            counted = {"result_attempts": work_items.c.result_attempts + 1, "error": error}
            self.connection.execute(update(work_items).where(work_items.c.id.in_(chunk)).values(**counted))

    def parked(self, prompt_ids: Sequence[int]) -> dict[int, list[OpenItem]]:
        """Open work of prompts that is in no batch, per prompt: it is what they go on with (`karma.store.requeue`)."""
        found: dict[int, list[OpenItem]] = {}
        for chunk in chunks(list(prompt_ids), ITEMS_PER_QUERY):
            query = select(*_ITEM_COLUMNS).where(work_items.c.prompt.in_(chunk), work_items.c.batch == PARKED)
            for row in self.connection.execute(query.order_by(work_items.c.id)):
                found.setdefault(row.prompt, []).append(OpenItem(*row))
        return found

    def unpark(self, items: Sequence[OpenItem], stream: str, priority: int, limits: BatchLimits) -> None:
        """Put parked work of one stage and target into batches."""
        stage = items[0].stage
        target = items[0].target if stage in ("generate", "judge") else ""
        for group in chunks(items, limits.items):
            batch = self._new_batch(stage, target, stream, priority)
            ids = [item.id for item in group]
            self.connection.execute(update(work_items).where(work_items.c.id.in_(ids)).values(batch=batch))

    def open_by_target(self, stage: Stage) -> dict[str, int]:
        """Open work per model or judge."""
        query = (
            select(work_items.c.target, func.count())
            .where(work_items.c.stage == stage, work_items.c.batch != PARKED)
            .group_by(work_items.c.target)
        )
        return {row[0]: row[1] for row in self.connection.execute(query)}


def _address(row: BatchRow) -> tuple[Stage, str, str, int]:
    """Where the items of a batch go."""
    return row.stage, row.target, row.stream, row.priority


def _fill(work: Sequence[Work], limits: BatchLimits) -> Iterator[list[Work]]:
    chunk: list[Work] = []
    filled = 0
    for one in work:
        if chunk and (len(chunk) >= limits.items or filled + one.size > limits.bytes):
            yield chunk
            chunk, filled = [], 0
        chunk.append(one)
        filled += one.size
    if chunk:
        yield chunk
