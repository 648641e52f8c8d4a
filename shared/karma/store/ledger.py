"""The ledger: every prompt that was accepted and the state it is in.

Whoever changes anything of a prompt holds the prompt's row (`lock_prompts`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

from karma.store.chunks import chunks
from karma.store.counting import prompts_by_state
from karma.store.records import Acceptance, NewPrompt, PromptRow
from karma.store.schema import PARKED, prompts, streams, work_items
from karma.store.sql import insert_new

#: Prompts that hold a place in the window.
IN_FLIGHT = ("dispatched", "answered", "matched")
STATES = ("accepted", *IN_FLIGHT, "done", "dead")

_PROMPT_COLUMNS = [prompts.c[name] for name in PromptRow.__dataclass_fields__]


class Ledger:
    """The ledger within one transaction; `now` is the transaction's time in seconds since 1970."""

    def __init__(self, connection: Connection, now: float) -> None:
        self.connection = connection
        self.now = now

    # --- the front door -------------------------------------------------------------------------------------------

    def accept(self, stream: str, new: Sequence[NewPrompt]) -> list[Acceptance]:
        """Keep prompts: one answer for each, in order. `conflict`: the id is taken by other content."""
        if not new:
            return []
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
        for new_rows in chunks(rows):
            statement = insert_new(self.connection, prompts).returning(prompts.c.prompt_id)
            inserted.update(self.connection.execute(statement, new_rows).scalars())
        known = {prompt_id: prompt.content_hash for prompt_id, prompt in first.items() if prompt_id in inserted}
        for chunk in chunks([prompt_id for prompt_id in first if prompt_id not in inserted]):
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

        `passed_over` names streams that cannot be served now. Each stream's priorities are looked up in the index one
        by one: a ledger with a million waiting prompts is read no further than one with a hundred.
        """
        found: list[Any] = []
        for stream in self.connection.execute(select(streams.c.name).where(streams.c.name.not_in(list(passed_over)))):
            accepted = (prompts.c.state == "accepted") & (prompts.c.stream == stream.name)
            mine: list[Any] = []
            priority = self.connection.execute(select(func.max(prompts.c.priority)).where(accepted)).scalar()
            while priority is not None and len(mine) < limit:
                query = (
                    select(*_PROMPT_COLUMNS, func.length(prompts.c.messages).label("size"), prompts.c.given)
                    .where(accepted, prompts.c.priority == priority)
                    .order_by(prompts.c.id)
                    .limit(limit - len(mine))
                    .with_for_update(skip_locked=True)
                )
                mine += self.connection.execute(query)
                lower = select(func.max(prompts.c.priority)).where(accepted, prompts.c.priority < priority)
                priority = self.connection.execute(lower).scalar()
            found += mine
        return sorted(found, key=lambda row: (-row.priority, row.id))[:limit]

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

    # --- moving prompts -------------------------------------------------------------------------------------------

    def lock_prompts(self, ids: Iterable[int]) -> dict[int, PromptRow]:
        """Lock prompts in the order of their ids and read them."""
        wanted = sorted(set(ids))
        found: dict[int, PromptRow] = {}
        for chunk in chunks(wanted):
            query = select(*_PROMPT_COLUMNS).where(prompts.c.id.in_(chunk)).order_by(prompts.c.id).with_for_update()
            found.update((row.id, PromptRow(*row)) for row in self.connection.execute(query))
        return found

    def messages_of(self, ids: Iterable[int]) -> dict[int, str]:
        """The turns of prompts, as JSON."""
        found: dict[int, str] = {}
        for chunk in chunks(sorted(set(ids))):
            query = select(prompts.c.id, prompts.c.messages).where(prompts.c.id.in_(chunk))
            found.update((row.id, row.messages) for row in self.connection.execute(query))
        return found

    def messages_between(self, stream: str, first: int, last: int) -> list[tuple[int, str]]:
        """The turns of a stream's prompts with ids from `first` to `last`, in their order, as (id, JSON)."""
        # Not by the stream's index, which SQLite would rather walk through all of the stream.
        mine = prompts.c.id.between(first, last), prompts.c.stream.concat("") == stream
        query = select(prompts.c.id, prompts.c.messages).where(*mine).order_by(prompts.c.id)
        return [(row.id, row.messages) for row in self.connection.execute(query)]

    def move(self, ids: Sequence[int], state: str, awaited: Mapping[int, int]) -> None:
        """Put locked prompts into a state with the number of results they now wait for."""
        self._update([{"key": id_, "to": state, "left": awaited.get(id_, 0)} for id_ in ids])

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

    def dead_letter(self, id_: int, error: str) -> None:
        """End a locked prompt as `dead`: the pipeline's own attempts at it are spent. Its open work is parked."""
        self.connection.execute(update(work_items).where(work_items.c.prompt == id_).values(batch=PARKED))
        self.connection.execute(
            update(prompts).where(prompts.c.id == id_).values(state="dead", error=error, ended_at=self.now)
        )

    def lower_awaited(self, locked: Mapping[int, PromptRow], recorded: Counter[int], then: str) -> list[int]:
        """Lower the number of awaited results by those really recorded; returns the prompts that now wait for none.

        They are put into the state `then`. The caller holds the rows, so two transactions cannot both miss the last.
        """
        left = {id_: locked[id_].awaited - count for id_, count in recorded.items()}
        complete = sorted(id_ for id_, count in left.items() if count <= 0)
        self._update(
            [
                {"key": id_, "to": then if count <= 0 else locked[id_].state, "left": max(0, count)}
                for id_, count in sorted(left.items())
            ]
        )
        return complete

    def _update(self, changes: Sequence[Mapping[str, Any]]) -> None:
        if changes:
            statement = update(prompts).where(prompts.c.id == bindparam("key"))
            self.connection.execute(statement.values(state=bindparam("to"), awaited=bindparam("left")), changes)

    # --- reading --------------------------------------------------------------------------------------------------

    def count_states(self) -> dict[str, int]:
        """Prompts by state; states without a prompt are 0."""
        found = dict.fromkeys(STATES, 0)
        for (_stream, state), number in prompts_by_state(self.connection).items():
            found[state] += number
        return found
