"""Budgets in USD: how many prompts may be admitted, and which streams have spent theirs.

Admission reserves: a stream's recorded spending, and what its open work is expected to cost by the measured averages,
stay within its budget. An average is no bound: the hard end is that no call begins for a spent stream
(`karma.queue.spent`).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from karma.config.judge_calls import asked_share, calls_of
from karma.config.pool import Pool
from karma.config.pricing import Kind
from karma.queue.spent import replace_spent, spent_streams
from karma.store import Store, Transaction
from karma.store.counting import in_flight_by_stream, stream_list
from karma.store.schema import EVERYTHING
from karma.store.spending import Budget, Sums

#: Prompts of a stream in flight while the cost of one is not known.
_STEP = 8

_ROUNDING = 1e-6  # prompts

_KINDS: Mapping[str, Kind] = {"generate": "model", "judge": "judge"}


def budget_of(pool: Pool, stream: str) -> Budget:
    """The limits of a stream, or of all together (`EVERYTHING`), by the pool file."""
    if stream == EVERYTHING:
        return Budget(None, pool.pipeline.budget_usd_per_day)
    settings = pool.stream(stream)
    return Budget(settings.budget_usd, settings.budget_usd_per_day)


def has_budgets(pool: Pool) -> bool:
    """Whether any stream may have a budget."""
    if pool.pipeline.budget_usd_per_day is not None:
        return True
    return any(
        stream.budget_usd is not None or stream.budget_usd_per_day is not None
        for stream in (pool.default_stream, *pool.streams.values())
    )


def assert_spent(store: Store, redis: Any, pool: Pool) -> set[str]:
    """Write the budgets of all streams to the ledger and the spent streams to Redis; returns these.

    Raises:
        OutageError: the store or Redis is unavailable.
    """
    before = spent_streams(redis)
    wanted: dict[str, Budget] = {}
    with store.reading() as transaction:
        known = transaction.spending.budgets()
        if has_budgets(pool):
            names = (*stream_list(transaction.ledger.connection), EVERYTHING)
            wanted = {name: budget for name in names if (budget := budget_of(pool, name)) != Budget()}
    if wanted != known:
        with store.transaction() as transaction:
            transaction.spending.set_budgets(wanted)
    with store.reading() as transaction:
        spent = transaction.spending.exhausted(pool.prices)
    replace_spent(redis, before, spent)
    return spent


@dataclass
class _Account:
    """A budget while prompts are admitted."""

    left_usd: float  # of the budget, without what open work is expected to cost
    spent: bool
    in_flight: int  # prompts
    most_in_flight: float = math.inf

    def room(self, each_usd: float | None) -> int | float:
        """How many prompts may be admitted that are expected to cost so much each; None: unknown."""
        if self.spent:
            return 0
        if each_usd is None:
            return max(0, _STEP - self.in_flight)
        number = math.inf
        if each_usd > 0:
            # Costs differ from prompt to prompt: of t prompts in flight, two standard deviations are kept in reserve,
            # where that of one prompt is about its mean: t + 2 √t prompts fit into what is left.
            most = max(0.0, self.left_usd / each_usd + self.in_flight)
            number = math.floor((math.sqrt(1.0 + most) - 1.0) ** 2 + _ROUNDING) - self.in_flight
        number = min(number, self.most_in_flight - self.in_flight)
        return 1 if number < 1 and not self.in_flight else max(0, number)  # so that a stream ends at its budget


@dataclass
class _Expected:
    """What prompts of a stream are expected to cost, USD; None where nothing is known."""

    each: float | None
    open_work: float
    measured: int  # calls


class BudgetRoom:
    """How many prompts of each stream may be admitted in one transaction."""

    def __init__(self, transaction: Transaction, pool: Pool) -> None:
        self._transaction = transaction
        self._pool = pool
        self._has_any = has_budgets(pool)
        self._accounts: dict[str, _Account] = {}
        self._expected: dict[str, _Expected] = {}
        if self._has_any:
            self._in_flight = in_flight_by_stream(transaction.ledger.connection)
            self._open = _open_calls(transaction)
            self._everywhere = transaction.spending.by_name()

    def of(self, stream: str, wanted: int) -> int:
        """How many of `wanted` prompts may be admitted now."""
        if not self._has_any:
            return wanted
        accounts = list(self._accounts_of(stream))
        if not accounts:
            return wanted
        each = self._expect(stream).each
        return int(min(wanted, *(account.room(each) for account in accounts)))

    def take(self, stream: str, number: int) -> None:
        """Reserve what so many admitted prompts are expected to cost."""
        if self._has_any and number:
            for account in self._accounts_of(stream):
                each = self._expect(stream).each or 0.0
                account.left_usd -= number * each
                account.in_flight += number

    def _accounts_of(self, stream: str) -> Iterable[_Account]:
        for name in (stream, EVERYTHING):
            if name not in self._accounts:
                budget = budget_of(self._pool, name)
                self._accounts[name] = _UNLIMITED if budget == Budget() else self._account(name, budget)
            if self._accounts[name] is not _UNLIMITED:
                yield self._accounts[name]

    def _account(self, name: str, budget: Budget) -> _Account:
        spent = self._transaction.spending.spent_under({name: budget}, self._pool.prices)[name]
        left = budget.left(*spent)
        streams = list(self._in_flight) if name == EVERYTHING else [name]
        flights = sum(self._in_flight.get(stream, Counter()).total() for stream in streams)
        open_work = sum(self._expect(stream).open_work for stream in streams)
        measured = sum(sums.calls for sums in self._everywhere.values())
        if name != EVERYTHING:
            measured = self._expect(name).measured
        # An average of few calls may be far off: no more prompts than calls that it is of.
        return _Account(left - open_work, left <= 0, flights, max(_STEP, measured))

    def _expect(self, stream: str) -> _Expected:
        if stream not in self._expected:
            own = self._transaction.spending.by_stream_and_name([stream])[stream]
            states, calls = self._in_flight.get(stream, Counter()), self._open.get(stream, {})
            self._expected[stream] = _expected(self._pool, stream, own, self._everywhere, states, calls)
        return self._expected[stream]


_UNLIMITED = _Account(math.inf, False, 0)

_Calls = Mapping[tuple[Kind, str], int]


def _open_calls(transaction: Transaction) -> dict[str, dict[tuple[Kind, str], int]]:
    """Stream → model or judge → calls that are open."""
    found: dict[str, dict[tuple[Kind, str], int]] = defaultdict(dict)
    for (stream, stage, target), number in transaction.work.open_by_stream_and_target().items():
        if stage in _KINDS:
            found[stream][_KINDS[stage], target] = number
    return found


def _expected(
    pool: Pool,
    stream: str,
    own: Mapping[tuple[Kind, str], Sums],
    everywhere: Mapping[tuple[Kind, str], Sums],
    states: Counter[str],
    calls: _Calls,
) -> _Expected:
    """What a prompt of a stream, and its open work, are expected to cost.

    Args:
        pool: with the settings of the stream.
        stream: its name.
        own: the sums of its calls.
        everywhere: those of all streams, for models and judges that it did not call yet.
        states: prompts of it in flight, by state.
        calls: that are open.
    """

    def mean(kind: Kind, name: str) -> float | None:
        price = pool.prices.get(name)
        for sums in (own.get((kind, name)), everywhere.get((kind, name))):
            if sums is not None and (known := sums.known(price)):
                return sums.cost(price) / known
        return None

    settings, models = pool.stream(stream), pool.stream_models(stream)
    judges = [judge for judge in pool.stream_judges(stream) if judge.model is not None]
    of_models = {name: mean("model", name) for name in models}
    of_judges = {judge.name: mean("judge", judge.name) for judge in judges}
    responses = settings.responses_per_prompt or max(2, len(models))
    unmatched = states["dispatched"] + states["answered"]
    asked = sum(sums.calls for (kind, _name), sums in own.items() if kind == "model")
    asked += sum(number for (kind, _name), number in calls.items() if kind == "model")
    matched = asked / responses - unmatched  # prompts that were given to judges
    judging: float | None = 0.0
    for judge in judges:
        of_judge: tuple[Kind, str] = ("judge", judge.name)
        ever = own.get(of_judge, Sums()).calls + calls.get(of_judge, 0)
        orders = calls_of(judge, settings) * asked_share(pool.stream_judges(stream), settings)
        per_prompt = ever / matched if matched >= _STEP else orders * max(1, settings.pairs_per_prompt)
        cost = of_judges[judge.name]
        judging = None if judging is None or cost is None else judging + per_prompt * cost
    known = [cost for cost in of_models.values() if cost is not None]
    generating = responses * sum(known) / len(known) if known else None
    open_work = sum(number * (mean(*of) or 0.0) for of, number in calls.items()) + unmatched * (judging or 0.0)
    each = None if generating is None or judging is None else generating + judging
    return _Expected(each, open_work, asked)
