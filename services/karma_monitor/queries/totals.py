"""Totals of the long tables: a full count, plus incremental updates.

A full count of a million rows takes a second; an update counts new rows only. An update may miss a row that was
committed late, or count one that was deleted since; the next full count corrects it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlalchemy import Connection, func, select

from karma.store import counting
from karma.store.ledger import Ledger
from karma.store.prompt_states import IN_FLIGHT, is_in
from karma.store.schema import prompts

#: Resolutions have no ascending id: those of the last second may not all be committed yet.
_SETTLE_S = 1.0

#: Most prompts in one state that an update counts.
_FEW = 20_000

#: Most distinct reasons.
_REASONS = 20


@dataclass(frozen=True)
class Totals:
    """All totals at one moment."""

    at: float  # seconds since 1970
    rows: Mapping[str, int]  # of prompts, responses, pairs and verdicts
    marks: Mapping[str, int]  # the newest id of each
    failed: Mapping[str, int]  # of responses and verdicts
    states: Mapping[str, int]  # prompts
    without_pair: int  # prompts that ended without a pair
    no_pair: Mapping[str, int]  # of these: by the most frequent reasons
    resolved: Mapping[tuple[str, str | None], int]  # pairs by outcome and label source
    settled: Mapping[tuple[str, str | None], int]  # of these: those that were resolved until `settled_until`
    settled_until: float  # all resolutions until then are committed
    states_at: float  # when the states were last exact

    @property
    def outcomes(self) -> dict[str, int]:
        """Resolved pairs by outcome."""
        return counting.outcomes(self.resolved)

    @property
    def preferences(self) -> dict[str, int]:
        """Decisive pairs by the source of their label."""
        return counting.preferences(self.resolved)

    @property
    def ended(self) -> int:
        """Finished prompts: done or dead."""
        return self.states["done"] + self.states["dead"]


def count(connection: Connection, now: float) -> Totals:
    """A full count."""
    until, resolved = now - _SETTLE_S, counting.resolutions_by_outcome(connection)
    return Totals(
        at=now,
        rows={name: counting.rows(connection, name) for name in counting.TABLES},
        marks={name: _newest(connection, name) for name in counting.TABLES},
        failed={name: counting.failed(connection, name) for name in ("responses", "verdicts")},
        states=Ledger(connection, now).count_states(),
        without_pair=counting.prompts_without_pair(connection).total(),
        no_pair=_no_pair(connection),
        resolved=resolved,
        settled=resolved - counting.resolutions_by_outcome(connection, until),
        settled_until=until,
        states_at=now,
    )


def update(connection: Connection, totals: Totals, now: float) -> Totals:
    """The totals with the rows that were added since. Failures and reasons stay as they were counted.

    Where more prompts wait or are dead than an update counts, finished ones count as accepted until the next full
    count.
    """
    marks = {name: max(mark, _newest(connection, name)) for name, mark in totals.marks.items()}
    rows = dict(totals.rows)
    for name, mark in totals.marks.items():
        if marks[name] > mark:
            rows[name] += counting.rows(connection, name, mark + 1, marks[name])
    until = max(totals.settled_until, now - _SETTLE_S)
    settled = Counter(totals.settled) + counting.resolutions_by_outcome(connection, totals.settled_until, until)
    states, all_right = _moved_on(connection, totals.states, rows["prompts"])
    return replace(
        totals,
        at=now,
        rows=rows,
        marks=marks,
        states=states,
        resolved=settled + counting.resolutions_by_outcome(connection, until),
        settled=settled,
        settled_until=until,
        states_at=now if all_right else totals.states_at,
    )


def _moved_on(connection: Connection, before: Mapping[str, int], prompts_: int) -> tuple[dict[str, int], bool]:
    """The prompts by state now, and whether they are exact: states with up to `_FEW` prompts are counted."""
    now = {state: _some(connection, state) for state in ("accepted", *IN_FLIGHT, "dead")}
    settled = {state: before[state] if number is None else number for state, number in now.items()}
    if None not in now.values():
        return {**settled, "done": max(0, prompts_ - sum(settled.values()))}, True
    kept = {**settled, "done": before["done"]}
    kept["accepted"] = max(0, prompts_ - sum(kept.values()) + kept["accepted"])
    return kept, False


def _some(connection: Connection, state: str) -> int | None:
    """The prompts in a state; None above `_FEW`."""
    few = select(prompts.c.id).where(is_in(state)).limit(_FEW + 1).subquery()
    number = counting.one(connection, select(func.count()).select_from(few))
    return number if number <= _FEW else None


def _newest(connection: Connection, table: str) -> int:
    return counting.one(connection, select(func.max(counting.TABLES[table].c.id)))


def _no_pair(connection: Connection) -> dict[str, int]:
    query = (
        select(prompts.c.no_pair, func.count().label("prompts"))
        .where(prompts.c.no_pair.is_not(None))
        .group_by(prompts.c.no_pair)
        .order_by(func.count().desc())
        .limit(_REASONS)
    )
    return {row[0]: int(row[1]) for row in connection.execute(query)}
