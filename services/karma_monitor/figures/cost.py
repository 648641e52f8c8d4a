"""The cost of all recorded calls, by the pool file's prices. Each call is read once, the newest repeatedly."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from karma.config.pool import Pool
from karma.config.settings import Price
from karma.store import Store
from karma_monitor.queries.tokens import Kind, Tokens, newest_call, tokens_between

_AT_ONCE = 20_000  # ids
_MOST_S = 0.2

#: The newest calls at the first read: others with lower ids may not be committed yet.
_TAIL = 5_000

_KINDS: tuple[Kind, ...] = ("model", "judge")

_Taken = dict[tuple[Kind, str], Tokens]


@dataclass(frozen=True)
class Cost:
    """Tokens and their cost."""

    tokens: Mapping[tuple[Kind, str], Tokens]  # by model or judge
    prices: Mapping[str, Price]
    whole: bool  # whether every call was read

    @property
    def total(self) -> float | None:
        """USD, of the calls with a known price and token count; None without prices, or before all calls were read."""
        costs = [self.of(kind, name) for kind, name in self.tokens]
        return sum(cost for cost in costs if cost is not None) if self.prices and self.whole else None

    @property
    def unknown_calls(self) -> int:
        """Calls that are not in the total: without a price or a token count."""
        return sum(
            tokens.calls - (tokens.metered if name in self.prices else 0) for (_, name), tokens in self.tokens.items()
        )

    @property
    def excluded(self) -> list[str]:
        """The models and judges whose calls, or some of them, are not in the total."""
        return sorted(
            {
                name
                for (_, name), tokens in self.tokens.items()
                if name not in self.prices or tokens.metered < tokens.calls
            }
        )

    def of(self, kind: Kind, name: str) -> float | None:
        """USD, of one model or judge; None without a price or any token count."""
        tokens, price = self.tokens[kind, name], self.prices.get(name)
        return price.of(tokens.tokens_in, tokens.tokens_out) if price is not None and tokens.metered else None


class Costs:
    """Reads the calls from the oldest on, a part at a time. Without prices it reads none."""

    def __init__(self, store: Store, pool: Pool) -> None:
        self._store = store
        self._prices = pool.prices
        # Judges without a model make no API calls, nor do the models of given responses.
        self._called = {*pool.models, *(judge.name for judge in pool.judges.values() if judge.model is not None)}
        self._marks: dict[Kind, int] = dict.fromkeys(_KINDS, 0)
        self._settled: dict[Kind, int] = {}  # newest id at the last read: all lower ids are committed by now
        self._taken: _Taken = {}

    def read(self) -> Cost:
        """Read more calls, for `_MOST_S` seconds at most, and return the cost so far."""
        if not self._prices:
            return Cost({}, {}, True)
        deadline = time.monotonic() + _MOST_S
        newest: _Taken = {}
        reached = [self._go_on(kind, deadline, newest) for kind in _KINDS]
        taken = dict(self._taken)
        _add(taken, newest)
        called = {key: one for key, one in taken.items() if key[1] in self._called}
        return Cost(called, self._prices, all(reached))

    def _go_on(self, kind: Kind, deadline: float, newest: _Taken) -> bool:
        """Read the calls that are committed for certain, and the newer ones into `newest`; whether all were read."""
        with self._store.reading() as transaction:
            top = newest_call(transaction.ledger.connection, kind)
        settled = min(top, self._settled.get(kind, max(0, top - _TAIL)))
        # SQLite reuses the ids of failed calls that were requeued; their cost stays counted.
        self._marks[kind] = min(self._marks[kind], top)
        while self._marks[kind] < settled:
            if time.monotonic() > deadline:
                return False
            high = min(settled, self._marks[kind] + _AT_ONCE)
            _add(self._taken, self._between(kind, self._marks[kind] + 1, high))
            self._marks[kind] = high
        self._settled[kind] = top
        _add(newest, self._between(kind, self._marks[kind] + 1, top))
        return True

    def _between(self, kind: Kind, low: int, high: int) -> _Taken:
        with self._store.reading() as transaction:
            found = tokens_between(transaction.ledger.connection, kind, low, high)
        return {(kind, name): tokens for name, tokens in found.items()}


def _add(to: _Taken, more: _Taken) -> None:
    for key, tokens in more.items():
        to[key] = to.get(key, Tokens()).plus(tokens)
