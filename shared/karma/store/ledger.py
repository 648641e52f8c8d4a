"""The ledger: prompts, the work that is open for them, and the batches that carry it.

Everything about which work exists and who may move a prompt is here. Whoever changes anything of a prompt holds the
prompt's row (`lock_prompts`); a second result for the same work finds no open item and changes nothing.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from karma.store.dialect import insert_new
from karma.store.schema import batches, prompts, streams, work_items

Stage = Literal["generate", "score", "match", "judge"]
Acceptance = Literal["accepted", "present", "conflict"]

#: Prompts that hold a place in the window.
IN_FLIGHT = ("dispatched", "answered", "matched")
STATES = ("accepted", *IN_FLIGHT, "done", "dead")

_ITEMS_PER_QUERY = 500


@dataclass(frozen=True)
class NewPrompt:
    """A validated prompt at the door. Texts are JSON where the schema says so."""

    prompt_id: str
    content_hash: str
    messages: str
    skill: str | None = None
    reference: str | None = None
    given: str | None = None
    priority: int = 0


@dataclass(frozen=True)
class PromptRow:
    """A prompt as the stages see it, its row locked."""

    id: int
    stream: str
    prompt_id: str
    skill: str | None
    reference: str | None
    priority: int
    state: str
    awaited: int


@dataclass(frozen=True)
class OpenItem:
    """A piece of open work."""

    id: int
    prompt: int
    stage: str
    target: str
    sample: int
    pair: int
    shown: int
    batch: str
    attempts: int


@dataclass(frozen=True)
class Work:
    """A piece of work to be opened; `size` in bytes of text fills a message. `target` overrides its batch's."""

    prompt: int
    target: str = ""
    sample: int = 0
    pair: int = 0
    shown: int = 0
    size: int = 0


@dataclass(frozen=True)
class BatchLimits:
    """How large one message may become."""

    items: int = 32
    bytes: int = 256 * 1024


@dataclass(frozen=True)
class BatchRow:
    """One publication of open work."""

    id: str
    token: str
    stage: Stage
    target: str
    stream: str
    priority: int
    created_at: float
    published_at: float | None
    epoch: str | None


_PROMPT_COLUMNS = [prompts.c[name] for name in PromptRow.__dataclass_fields__]
_ITEM_COLUMNS = [work_items.c[name] for name in OpenItem.__dataclass_fields__]
_BATCH_COLUMNS = [batches.c[name] for name in BatchRow.__dataclass_fields__]


class Ledger:
    """The ledger within one transaction; `now` is the transaction's time in seconds since 1970.

    `opened` collects the batches that this transaction opened: they are published after the commit.
    """

    def __init__(self, connection: Connection, now: float) -> None:
        self.connection = connection
        self.now = now
        self.opened: list[str] = []

    # --- the front door -------------------------------------------------------------------------------------------

    def accept(self, stream: str, new: Sequence[NewPrompt]) -> list[Acceptance]:
        """Keep prompts: one answer for each, in order. `conflict`: the id is taken by other content."""
        self.connection.execute(insert_new(self.connection, streams), [{"name": stream, "created_at": self.now}])
        first: dict[str, NewPrompt] = {}
        for prompt in new:
            first.setdefault(prompt.prompt_id, prompt)
        rows = [
            {
                "stream": stream,
                "prompt_id": prompt.prompt_id,
                "content_hash": prompt.content_hash,
                "messages": prompt.messages,
                "skill": prompt.skill,
                "reference": prompt.reference,
                "given": prompt.given,
                "priority": prompt.priority,
                "state": "accepted",
                "awaited": 0,
                "accepted_at": self.now,
            }
            for prompt in first.values()
        ]
        inserted: set[str] = set()
        for chunk in _chunks(rows, _ITEMS_PER_QUERY):
            statement = insert_new(self.connection, prompts).returning(prompts.c.prompt_id)
            inserted.update(self.connection.execute(statement, chunk).scalars())
        known = {prompt_id: prompt.content_hash for prompt_id, prompt in first.items() if prompt_id in inserted}
        for chunk in _chunks([prompt_id for prompt_id in first if prompt_id not in inserted], _ITEMS_PER_QUERY):
            query = select(prompts.c.prompt_id, prompts.c.content_hash).where(
                prompts.c.stream == stream, prompts.c.prompt_id.in_(chunk)
            )
            known.update((row.prompt_id, row.content_hash) for row in self.connection.execute(query))
        answers: list[Acceptance] = []
        for prompt in new:
            if known[prompt.prompt_id] != prompt.content_hash:
                answers.append("conflict")
            elif prompt.prompt_id in inserted:
                answers.append("accepted")
                inserted.discard(prompt.prompt_id)
            else:
                answers.append("present")
        return answers

    # --- admission ------------------------------------------------------------------------------------------------

    def waiting(self, limit: int, passed_over: Iterable[str] = ()) -> list[Any]:
        """Accepted prompts in order of priority and acceptance, locked; other dispatchers pass over them.

        `passed_over` names streams that cannot be served now.
        """
        query = (
            select(*_PROMPT_COLUMNS, func.length(prompts.c.messages).label("size"), prompts.c.given)
            .where(prompts.c.state == "accepted", prompts.c.stream.not_in(list(passed_over)))
            .order_by(prompts.c.priority.desc(), prompts.c.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        return list(self.connection.execute(query))

    def in_flight(self) -> int:
        """How many prompts hold a place in the window."""
        query = select(func.count()).select_from(prompts).where(prompts.c.state.in_(IN_FLIGHT))
        return int(self.connection.execute(query).scalar_one())

    def has_accepted(self) -> bool:
        """Whether any prompt waits for admission."""
        return (
            self.connection.execute(select(prompts.c.id).where(prompts.c.state == "accepted").limit(1)).first()
            is not None
        )

    def open_by_target(self, stage: Stage) -> dict[str, int]:
        """Open work per model or judge."""
        query = (
            select(work_items.c.target, func.count()).where(work_items.c.stage == stage).group_by(work_items.c.target)
        )
        return {row[0]: row[1] for row in self.connection.execute(query)}

    # --- moving prompts -------------------------------------------------------------------------------------------

    def lock_prompts(self, ids: Iterable[int]) -> dict[int, PromptRow]:
        """Lock prompts in the order of their ids and read them."""
        wanted = sorted(set(ids))
        found: dict[int, PromptRow] = {}
        for chunk in _chunks(wanted, _ITEMS_PER_QUERY):
            query = select(*_PROMPT_COLUMNS).where(prompts.c.id.in_(chunk)).order_by(prompts.c.id).with_for_update()
            found.update((row.id, PromptRow(*row)) for row in self.connection.execute(query))
        return found

    def move(self, ids: Sequence[int], state: str, awaited: Mapping[int, int]) -> None:
        """Put locked prompts into a state with the number of results they now wait for."""
        if ids:
            self.connection.execute(
                update(prompts).where(prompts.c.id == bindparam("key")).values(state=state, awaited=bindparam("left")),
                [{"key": id_, "left": awaited.get(id_, 0)} for id_ in ids],
            )

    def end(self, ids: Sequence[int], no_pair: Mapping[int, str] | None = None) -> None:
        """End locked prompts as `done`; `no_pair` gives the reason of those without a pair."""
        if ids:
            reasons = no_pair or {}
            self.connection.execute(
                update(prompts)
                .where(prompts.c.id == bindparam("key"))
                .values(state="done", awaited=0, no_pair=bindparam("reason"), ended_at=self.now, given=None),
                [{"key": id_, "reason": reasons.get(id_)} for id_ in ids],
            )

    def bury(self, id_: int, error: str) -> None:
        """End a locked prompt as `dead`: the pipeline's own attempts at it are spent."""
        self.connection.execute(delete(work_items).where(work_items.c.prompt == id_))
        self.connection.execute(
            update(prompts).where(prompts.c.id == id_).values(state="dead", awaited=0, error=error, ended_at=self.now)
        )

    def lower_awaited(self, locked: Mapping[int, PromptRow], recorded: Counter[int], then: str) -> list[int]:
        """Lower the number of awaited results by those really recorded; returns the prompts that now wait for none.

        They are put into the state `then`. The caller holds the rows, so two transactions cannot both miss the last.
        """
        left = {id_: locked[id_].awaited - count for id_, count in recorded.items()}
        complete = sorted(id_ for id_, count in left.items() if count <= 0)
        waiting = {id_: count for id_, count in left.items() if count > 0}
        for id_ in waiting:
            self.move([id_], locked[id_].state, waiting)
        self.move(complete, then, {})
        return complete

    # --- work -----------------------------------------------------------------------------------------------------

    def open_work(
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

    def _new_batch(self, stage: Stage, target: str, stream: str, priority: int) -> str:
        batch = secrets.token_hex(8)
        self.connection.execute(
            insert(batches),
            [
                {
                    "id": batch,
                    "token": secrets.token_hex(8),
                    "stage": stage,
                    "target": target,
                    "stream": stream,
                    "priority": priority,
                    "created_at": self.now,
                }
            ],
        )
        self.opened.append(batch)
        return batch

    def open_items(self, ids: Iterable[int]) -> dict[int, OpenItem]:
        """Those of the items that are still open."""
        found: dict[int, OpenItem] = {}
        for chunk in _chunks(sorted(set(ids)), _ITEMS_PER_QUERY):
            query = select(*_ITEM_COLUMNS).where(work_items.c.id.in_(chunk))
            found.update((row.id, OpenItem(*row)) for row in self.connection.execute(query))
        return found

    def items_of(self, batch: str) -> list[OpenItem]:
        """The open items of a batch, in order."""
        query = select(*_ITEM_COLUMNS).where(work_items.c.batch == batch).order_by(work_items.c.id)
        return [OpenItem(*row) for row in self.connection.execute(query)]

    def close_items(self, ids: Iterable[int]) -> None:
        """Close items whose results are written."""
        for chunk in _chunks(sorted(ids), _ITEMS_PER_QUERY):
            self.connection.execute(delete(work_items).where(work_items.c.id.in_(chunk)))

    # --- batches --------------------------------------------------------------------------------------------------

    def batch_rows(self, ids: Sequence[str]) -> list[BatchRow]:
        """The batches of these ids, in the order of their opening."""
        found: list[BatchRow] = []
        for chunk in _chunks(list(ids), _ITEMS_PER_QUERY):
            query = select(*_BATCH_COLUMNS).where(batches.c.id.in_(chunk))
            found.extend(BatchRow(*row) for row in self.connection.execute(query))
        order = {id_: place for place, id_ in enumerate(ids)}
        return sorted(found, key=lambda row: order[row.id])

    def mark_published(self, ids: Sequence[str], epoch: str) -> None:
        """Remember that batches were handed to the Redis of an epoch."""
        for chunk in _chunks(list(ids), _ITEMS_PER_QUERY):
            self.connection.execute(
                update(batches).where(batches.c.id.in_(chunk)).values(published_at=self.now, epoch=epoch)
            )

    def carried(self, older_than: float) -> list[BatchRow]:
        """Batches opened before a moment that still carry open work, oldest first."""
        has_work = select(work_items.c.id).where(work_items.c.batch == batches.c.id).exists()
        query = (
            select(*_BATCH_COLUMNS).where(batches.c.created_at < older_than, has_work).order_by(batches.c.created_at)
        )
        return [BatchRow(*row) for row in self.connection.execute(query)]

    def forget_empty_batches(self, older_than: float) -> int:
        """Remove the rows of batches without open work; returns how many."""
        has_work = select(work_items.c.id).where(work_items.c.batch == batches.c.id).exists()
        result = self.connection.execute(delete(batches).where(batches.c.created_at < older_than, ~has_work))
        return int(result.rowcount)

    def reopen(self, row: BatchRow, attempted: bool, error: str, limits: BatchLimits) -> list[OpenItem]:
        """Take a lost batch's open items into new batches; returns the items with their counts of attempts.

        `attempted` says that a worker had claimed the batch and fell silent: that alone counts as an attempt, and such
        items travel alone from then on. The update is conditional on the old batch, so of two sweepers one does it.
        """
        items = self.items_of(row.id)
        groups = [[item] for item in items] if attempted else _chunks(items, limits.items)
        taken: list[OpenItem] = []
        for group in groups:
            batch = self._new_batch(row.stage, row.target, row.stream, row.priority)
            changes: dict[str, Any] = {"batch": batch}
            if attempted:
                changes |= {"attempts": work_items.c.attempts + 1, "error": error}
            self.connection.execute(
                update(work_items)
                .where(work_items.c.id.in_([item.id for item in group]), work_items.c.batch == row.id)
                .values(**changes)
            )
            taken.extend(self.items_of(batch))
        self.connection.execute(delete(batches).where(batches.c.id == row.id))
        return taken

    # --- reading --------------------------------------------------------------------------------------------------

    def count_states(self) -> dict[str, int]:
        """Prompts per state; states without a prompt are 0."""
        query = select(prompts.c.state, func.count()).group_by(prompts.c.state)
        found = {row[0]: row[1] for row in self.connection.execute(query)}
        return {state: found.get(state, 0) for state in STATES}

    def count_no_pair(self) -> int:
        """Prompts that ended without a pair."""
        query = select(func.count()).select_from(prompts).where(prompts.c.no_pair.is_not(None))
        return int(self.connection.execute(query).scalar_one())


def _chunks(values: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


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
