"""Spending: the money of recorded calls as running sums, and the budgets that it is held against.

The sums are written in the transaction that records the calls, last, so that the row that all recorders share is locked
for a moment only. Budgets are those of the gateway's pool file.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

from msgspec.structs import astuple
from sqlalchemy import Connection, Table, delete, func, select

from karma.config.pricing import Kind
from karma.config.settings import Price
from karma.store.bulk import Insert
from karma.store.chunks import execute_in_order, rows_in
from karma.store.records import NewCall, NewResponse, NewVerdict
from karma.store.schema import EVERYTHING, responses, verdicts
from karma.store.spending_tables import budgets, spending
from karma.store.sql import insert_new
from karma.store.statements import Query, among

DAY_S = 86_400.0

_SUMS = (
    *("calls", "tokens_in", "tokens_out", "priced", "cost_usd"),
    *("unpriced", "unpriced_in", "unpriced_out"),
)


class _Results(NamedTuple):
    """How the results of one kind of call are inserted."""

    insert: Insert
    key: Callable[[Any], tuple[Any, ...]]  # the natural key


def _results(table: Table, record: type[NewCall], *key: str) -> _Results:
    insert = Insert(table, (*record.__struct_fields__, "created_at"), returning=key)
    return _Results(insert, attrgetter(*key))


_RESULTS: Mapping[Kind, _Results] = {
    "model": _results(responses, NewResponse, "prompt", "model", "sample"),
    "judge": _results(verdicts, NewVerdict, "pair", "judge", "template_hash", "shown"),
}
_BUDGET = select(budgets.c.stream, budgets.c.total_usd, budgets.c.day_usd)
_BUDGETS, _BUDGETS_OF = Query(_BUDGET), Query(_BUDGET.where(among(budgets.c.stream, "streams")), "streams")
_ADD_SUMS = Insert(spending, ("stream", "day", "kind", "name", *_SUMS), adding=_SUMS)

#: Less than any call costs; sums of many calls are not exact.
_ROUNDING_USD = 1e-9


class Sums(NamedTuple):
    """Sums over calls."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    priced: int = 0  # calls with stored money
    cost_usd: float = 0.0  # of these
    unpriced: int = 0  # calls without stored money of which the tokens are known
    unpriced_in: int = 0
    unpriced_out: int = 0

    def plus(self, other: Sums) -> Sums:
        """The sum of both."""
        return Sums._make(mine + its for mine, its in zip(self, other, strict=True))

    def known(self, price: Price | None) -> int:
        """Calls of which the cost is known, with this price in the pool file."""
        return self.priced + (self.unpriced if price is not None else 0)

    def cost(self, price: Price | None) -> float:
        """USD, of the calls of which the cost is known."""
        return self.cost_usd + (price.of(self.unpriced_in, self.unpriced_out) if price is not None else 0.0)


@dataclass(frozen=True)
class Budget:
    """Limits of a stream, or of all streams together, USD; None: unlimited."""

    total_usd: float | None = None
    day_usd: float | None = None

    def left(self, spent: float, spent_today: float) -> float:
        """USD that may still be spent; 0 once it is spent."""
        total = math.inf if self.total_usd is None else self.total_usd - spent
        left = min(total, math.inf if self.day_usd is None else self.day_usd - spent_today)
        return 0.0 if left <= _ROUNDING_USD else left


class Spending:
    """Spending within one transaction; `now` is the transaction's time in seconds since 1970."""

    def __init__(self, connection: Connection, now: float) -> None:
        self.connection = connection
        self.now = now
        self.today = int(now // DAY_S)
        self._added: defaultdict[tuple[str, int, Kind, str], list[NewResponse | NewVerdict]] = defaultdict(list)

    def record(self, kind: Kind, new: Sequence[NewResponse] | Sequence[NewVerdict], stream: str) -> None:
        """Insert responses or verdicts, and count the calls behind those that are new by their natural key.

        Given responses, and verdicts of judges without a model, have no call.

        Args:
            kind: of the calls.
            new: results of prompts or pairs of one stream.
            stream: theirs.
        """
        results = _RESULTS[kind]
        first: dict[tuple[Any, ...], NewResponse | NewVerdict] = {}
        for each in new:
            first.setdefault(results.key(each), each)
        rows = [(*astuple(each), self.now) for each in first.values()]
        for key in results.insert.new(self.connection, rows):
            call = first[key]
            if is_call(call):
                name = call.model if isinstance(call, NewResponse) else call.judge
                self._added[stream, self.today, kind, name].append(call)

    def write(self) -> None:
        """Write what was counted; `Store.transaction` does it before the commit. A second call adds nothing."""
        # in one order, so that writers cannot deadlock
        rows = [(*key, *_sums_of(calls)) for key, calls in sorted(self._added.items(), key=itemgetter(0))]
        self._added.clear()
        _ADD_SUMS.run(self.connection, rows)

    # --- reading --------------------------------------------------------------------------------------------------

    def by_name(self, streams: Collection[str] | None = None) -> dict[tuple[Kind, str], Sums]:
        """The sums of each model and judge, over `streams` or all."""
        return {(kind, name): sums for (kind, name, _stream), sums in self._grouped(streams).items()}

    def by_stream_and_name(self, streams: Collection[str]) -> dict[str, dict[tuple[Kind, str], Sums]]:
        """The sums of each model and judge in each of the streams; without a call: empty."""
        found: dict[str, dict[tuple[Kind, str], Sums]] = {stream: {} for stream in streams}
        for (kind, name, stream), sums in self._grouped(streams, by_stream=True).items():
            found[stream][kind, name] = sums
        return found

    def _grouped(self, streams: Collection[str] | None, by_stream: bool = False) -> dict[tuple[Kind, str, str], Sums]:
        columns = (spending.c.kind, spending.c.name, *((spending.c.stream,) if by_stream else ()))
        query = select(*columns, *(func.sum(spending.c[name]) for name in _SUMS)).group_by(*columns)
        if streams is None:
            rows: Iterable[Any] = self.connection.execute(query)
        else:
            rows = rows_in(self.connection, query, spending.c.stream, streams)
        found: dict[tuple[Kind, str, str], Sums] = {}
        for row in rows:
            key = (row.kind, row.name, row.stream if by_stream else "")
            found[key] = found.get(key, Sums()).plus(_read(row[len(columns) :]))
        return found

    def spent(self, prices: Mapping[str, Price], stream: str | None = None, today: bool = False) -> float:
        """USD that was spent on a stream, or on all; `today`: on this day (UTC) only."""
        return sum(self.spent_by_stream(prices, None if stream is None else [stream], today).values())

    def spent_by_stream(
        self, prices: Mapping[str, Price], streams: Collection[str] | None = None, today: bool = False
    ) -> dict[str, float]:
        """USD by stream, of `streams` or of all; `today`: on this day (UTC) only."""
        columns = spending.c.stream, spending.c.name
        query = select(*columns, *(func.sum(spending.c[name]) for name in _SUMS)).group_by(*columns)
        if today:
            query = query.where(spending.c.day == self.today)
        if streams is None:
            rows: Iterable[Any] = self.connection.execute(query)
        else:
            rows = rows_in(self.connection, query, spending.c.stream, streams)
        found: defaultdict[str, float] = defaultdict(float)
        for row in rows:
            found[row.stream] += _read(row[2:]).cost(prices.get(row.name))
        return found

    # --- budgets --------------------------------------------------------------------------------------------------

    def budgets(self, of: Collection[str] | None = None) -> dict[str, Budget]:
        """Stream, or `EVERYTHING` for all together → its limits; streams without any are left out.

        `of`: of these streams, and of all together.
        """
        found = _BUDGETS.rows(self.connection) if of is None else _BUDGETS_OF.rows(self.connection, {*of, EVERYTHING})
        return {stream: Budget(total_usd, day_usd) for stream, total_usd, day_usd in found}

    def set_budgets(self, wanted: Mapping[str, Budget]) -> None:
        """Write all limits; others are removed."""
        known = self.budgets()
        changed = {stream: budget for stream, budget in wanted.items() if known.get(stream) != budget}
        gone = [stream for stream in known if wanted.get(stream) != known[stream]]
        execute_in_order(self.connection, delete(budgets), budgets.c.stream, gone)
        if changed:  # of two gateways at once either may write it
            rows = [{"stream": stream, **vars(budget)} for stream, budget in sorted(changed.items())]
            self.connection.execute(insert_new(self.connection, budgets), rows)

    def exhausted(self, prices: Mapping[str, Price], of: Collection[str] | None = None) -> set[str]:
        """The streams whose budget is spent; `EVERYTHING` if that of all streams is. `of`: of these, and of all."""
        limits = self.budgets(of)
        if not limits:
            return set()
        spent = self.spent_under(limits, prices)
        return {stream for stream, budget in limits.items() if budget.left(*spent[stream]) <= 0}

    def spent_under(self, limits: Mapping[str, Budget], prices: Mapping[str, Price]) -> dict[str, tuple[float, float]]:
        """USD that was spent in all, and today, of each stream with a budget, or of all together."""
        ever: Mapping[str, float] = {}
        today: Mapping[str, float] = {}
        if own := [stream for stream in limits if stream != EVERYTHING]:
            ever = self.spent_by_stream(prices, own)
            if any(limits[stream].day_usd is not None for stream in own):
                today = self.spent_by_stream(prices, own, today=True)
        found = {stream: (ever.get(stream, 0.0), today.get(stream, 0.0)) for stream in own}
        if EVERYTHING in limits:
            of_all = 0.0 if limits[EVERYTHING].total_usd is None else self.spent(prices)
            found[EVERYTHING] = of_all, self.spent(prices, today=True)
        return found


def is_call(recorded: NewResponse | NewVerdict) -> bool:
    """Whether a model was called for a result: it took time, or tokens."""
    return not (
        recorded.latency_s is None
        and recorded.tokens_in is None
        and recorded.tokens_out is None
        and recorded.cost_usd is None
    )


def _sums_of(calls: Sequence[NewResponse | NewVerdict]) -> Sums:
    costs = [call.cost_usd for call in calls if call.cost_usd is not None]
    unpriced = [
        (call.tokens_in, call.tokens_out)
        for call in calls
        if call.cost_usd is None and call.tokens_in is not None and call.tokens_out is not None
    ]
    return Sums(
        calls=len(calls),
        tokens_in=sum([call.tokens_in or 0 for call in calls]),
        tokens_out=sum([call.tokens_out or 0 for call in calls]),
        priced=len(costs),
        cost_usd=sum(costs),
        unpriced=len(unpriced),
        unpriced_in=sum([tokens_in for tokens_in, _out in unpriced]),
        unpriced_out=sum([tokens_out for _in, tokens_out in unpriced]),
    )


def _read(values: Sequence[Any]) -> Sums:
    """Sums of a database, which may be decimals."""
    return Sums._make(
        float(value) if name == "cost_usd" else int(value) for name, value in zip(_SUMS, values, strict=True)
    )
