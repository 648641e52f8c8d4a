"""The ledger: every accepted prompt and its state.

A transaction that changes anything of a prompt first locks the prompt's row (`lock_prompts`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields as dataclass_fields
from operator import attrgetter
from typing import Literal

from sqlalchemy import Connection, bindparam, func, select, update

from karma.store import admission
from karma.store.admission import Waiting, Wanting
from karma.store.bulk import Insert, Update
from karma.store.chunks import rows_in
from karma.store.counting import prompts_by_state
from karma.store.prompt_states import IS_WAITING, STATES
from karma.store.records import NewPrompt, PromptRow
from karma.store.schema import PARKED, prompts, streams, work_items
from karma.store.sql import insert_new
from karma.store.statements import Query, among

Acceptance = Literal["accepted", "present", "conflict"]

#: PostgreSQL's number of the lock on admission.
_ADMISSION = 7305422

#: What an accepted prompt brings along.
_ACCEPTED = tuple(each.name for each in dataclass_fields(NewPrompt))

_accepted_values = attrgetter(*_ACCEPTED)

_ACCEPT = Insert(prompts, (*_ACCEPTED, "stream", "state", "awaited", "accepted_at"), returning=("prompt_id",))

_PROMPT_COLUMNS = [prompts.c[name] for name in PromptRow._fields]

_LOCK = Query(
    select(*_PROMPT_COLUMNS).where(among(prompts.c.id, "ids")).order_by(prompts.c.id).with_for_update(), "ids"
)
_MESSAGES = Query(select(prompts.c.id, prompts.c.messages).where(among(prompts.c.id, "ids")), "ids")
# The concatenation hides the stream's index from SQLite, which would scan the whole stream by it.
_BETWEEN = Query(
    select(prompts.c.id, prompts.c.messages)
    .where(prompts.c.id.between(bindparam("first"), bindparam("last")))
    .where(prompts.c.stream.concat("") == bindparam("stream"))
    .order_by(prompts.c.id),
    *("stream", "first", "last"),
)
_MOVE = Update(prompts, "state", "awaited", "admitted", "id")
_LOWER = Update(prompts, "awaited", "id")
_END = Update(prompts, "state", "awaited", "no_pair", "ended_at", "given", "id")


class Ledger:
    """The ledger within one transaction; `now` is the transaction's time in seconds since 1970."""

    def __init__(self, connection: Connection, now: float) -> None:
        self.connection = connection
        self.now = now

    # --- ingest ---------------------------------------------------------------------------------------------------

    def accept(self, stream: str, new: Sequence[NewPrompt], goal: str | None = None) -> list[Acceptance]:
        """Store prompts; returns one result per prompt, in order. `conflict`: the id exists with other content.

        A new stream begins with the goal; without one, with that of the first gateway that admits a prompt of it.
        """
        if not new:
            return []
        self.add_stream(stream, goal)
        first: dict[str, NewPrompt] = {}
        for prompt in new:
            first.setdefault(prompt.prompt_id, prompt)
        rows = [(*_accepted_values(prompt), stream, "accepted", 0, self.now) for prompt in first.values()]
        inserted = {prompt_id for (prompt_id,) in _ACCEPT.new(self.connection, rows)}
        hashes = {prompt_id: prompt.content_hash for prompt_id, prompt in first.items() if prompt_id in inserted}
        query = select(prompts.c.prompt_id, prompts.c.content_hash).where(prompts.c.stream == stream)
        existing = rows_in(self.connection, query, prompts.c.prompt_id, first.keys() - inserted)
        hashes.update((row.prompt_id, row.content_hash) for row in existing)
        results: list[Acceptance] = []
        for prompt in new:
            if hashes[prompt.prompt_id] != prompt.content_hash:
                results.append("conflict")
            elif prompt.prompt_id in inserted:
                results.append("accepted")
                inserted.discard(prompt.prompt_id)
            else:
                results.append("present")
        return results

    def add_stream(self, stream: str, goal: str | None = None) -> None:
        """Add a stream, unless it exists."""
        row = {"name": stream, "created_at": self.now, "goal": goal}
        self.connection.execute(insert_new(self.connection, streams), [row])

    def present(self, stream: str, prompt_ids: Iterable[str]) -> set[str]:
        """Those of the ids that a stream has."""
        query = select(prompts.c.prompt_id).where(prompts.c.stream == stream)
        return {row.prompt_id for row in rows_in(self.connection, query, prompts.c.prompt_id, prompt_ids)}

    def waiting_ids(self, stream: str, limit: int) -> list[str]:
        """The ids of a stream's accepted prompts, at most `limit`, in order of acceptance."""
        query = select(prompts.c.prompt_id).where(IS_WAITING, prompts.c.stream == stream)
        return list(self.connection.execute(query.order_by(prompts.c.id).limit(limit)).scalars())

    # --- admission ------------------------------------------------------------------------------------------------

    def begin_admission(self) -> bool:
        """Keep other gateways from admitting until this transaction ends; returns False where one does so now.

        Of two that count what is in flight at the same time, each would fill the window by itself.
        """
        if self.connection.dialect.name != "postgresql":
            return True  # the only writer
        return bool(self.connection.execute(select(func.pg_try_advisory_xact_lock(_ADMISSION))).scalar_one())

    def wanting(self, passed_over: Collection[str] = ()) -> list[Wanting]:
        """Streams with accepted prompts, without those in `passed_over`.

        One look-up in the index per stream, however many prompts wait.
        """
        return [each for each in admission.wanting(self.connection) if each.name not in passed_over]

    def waiting(self, stream: str, priority: int, limit: int) -> list[Waiting]:
        """Accepted prompts of a stream and a priority in order of acceptance, locked; other dispatchers skip them."""
        return admission.waiting(self.connection, stream, priority, limit)

    def any_without_calls(self, stream: str, priority: int, limit: int) -> bool:
        """Whether a prompt among the first `limit` that `waiting` returns asks no model.

        It has given responses or parked work.
        """
        return admission.any_without_calls(self.connection, stream, priority, limit)

    def in_flight(self, closed: Collection[str] = ()) -> dict[str, int]:
        """The number of prompts within the window, per stream.

        Prompts with open work for a model or judge among `closed` are left out: they wait for it, and occupy nothing.
        """
        return admission.in_flight(self.connection, closed)

    def has_accepted(self) -> bool:
        """Whether any prompt waits for admission."""
        return admission.has_accepted(self.connection)

    # --- moving prompts -------------------------------------------------------------------------------------------

    def lock_prompts(self, ids: Iterable[int]) -> dict[int, PromptRow]:
        """Lock prompts in the order of their ids and read them."""
        return {row[0]: PromptRow(*row) for row in _LOCK.rows(self.connection, ids)}

    def messages_of(self, ids: Iterable[int]) -> dict[int, str]:
        """Prompt → turns, as JSON."""
        return dict(_MESSAGES.rows(self.connection, ids))

    def messages_between(self, stream: str, first: int, last: int) -> list[tuple[int, str]]:
        """The turns of a stream's prompts with ids from `first` to `last`, in their order, as (id, JSON)."""
        return _BETWEEN.rows(self.connection, stream, first, last)

    def move(self, ids: Sequence[int], state: str, awaited: Mapping[int, int]) -> None:
        """Set the state of locked prompts that are admitted, and the number of results that each waits for."""
        _MOVE.run(self.connection, [(state, awaited.get(id_, 0), 1, id_) for id_ in ids])

    def end(self, ids: Sequence[int], no_pair: Mapping[int, str] | None = None) -> None:
        """End locked prompts as `done`; `no_pair` gives the reason of those without a pair."""
        reasons = no_pair or {}
        _END.run(self.connection, [("done", 0, reasons.get(id_), self.now, None, id_) for id_ in ids])

    def dead_letter(self, id_: int, error: str) -> None:
        """End a locked prompt as `dead`, after the pipeline's last attempt at it failed. Its open work is parked."""
        self.connection.execute(update(work_items).where(work_items.c.prompt == id_).values(batch=PARKED))
        self.connection.execute(
            update(prompts).where(prompts.c.id == id_).values(state="dead", error=error, ended_at=self.now)
        )

    def lower_awaited(
        self, locked: Mapping[int, PromptRow], recorded: Counter[int], then: str | None = None
    ) -> list[int]:
        """Lower the number of awaited results by the recorded ones; returns the prompts that wait for no more.

        Those get the state `then`; None leaves them to `end`. The caller holds the rows, so exactly one transaction
        returns each prompt.
        """
        left = {id_: locked[id_].awaited - count for id_, count in sorted(recorded.items())}
        complete = [id_ for id_, count in left.items() if count <= 0]
        _LOWER.run(self.connection, [(count, id_) for id_, count in left.items() if count > 0])
        if then is not None:
            self.move(complete, then, {})
        return complete

    # --- reading --------------------------------------------------------------------------------------------------

    def count_states(self, streams: Sequence[str] | None = None) -> dict[str, int]:
        """Prompts by state, of `streams` or of all; states without a prompt are 0."""
        by_state = dict.fromkeys(STATES, 0)
        for (_stream, state), number in prompts_by_state(self.connection, streams).items():
            by_state[state] += number
        return by_state
