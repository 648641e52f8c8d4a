"""What the calls cost, by the pool file's prices: every call that was recorded is looked at once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from karma.pool import Pool
from karma.store import Store
from karma.store.tokens import Kind, Tokens, newest_call, tokens_between

_AT_ONCE = 20_000  # ids
_MOST_S = 0.2

_KINDS: tuple[Kind, ...] = ("model", "judge")


@dataclass(frozen=True)
class Cost:
    """What was spent, USD."""

    cost: float | None  # None: no price is known, or not every call was looked at yet
    tokens: Mapping[tuple[Kind, str], Tokens]
    whole: bool  # whether every call was looked at


class Costs:
    """Goes through the calls from the oldest on, a part at a time. Without prices there is nothing to do."""

    def __init__(self, store: Store, pool: Pool) -> None:
        self._store = store
        self._prices = pool.prices
        self._marks: dict[Kind, int] = dict.fromkeys(_KINDS, 0)
        self._tokens: dict[tuple[Kind, str], Tokens] = {}

    def look(self) -> Cost:
        """Go on for a while."""
        if not self._prices:
            return Cost(None, {}, True)
        deadline = time.monotonic() + _MOST_S
        reached = [self._go_on(kind, deadline) for kind in _KINDS]
        whole = all(reached)
        spent = None
        if whole:
            spent = sum(
                self._prices[name].of(tokens.tokens_in, tokens.tokens_out)
                for (_kind, name), tokens in self._tokens.items()
                if name in self._prices
            )
        return Cost(spent, dict(self._tokens), whole)

    def _go_on(self, kind: Kind, deadline: float) -> bool:
        """Whether the newest call was reached."""
        with self._store.reading() as transaction:
            newest = newest_call(transaction.ledger.connection, kind)
        while self._marks[kind] < newest:
            if time.monotonic() > deadline:
                return False
            low, high = self._marks[kind] + 1, min(newest, self._marks[kind] + _AT_ONCE)
            with self._store.reading() as transaction:
                found = tokens_between(transaction.ledger.connection, kind, low, high)
            for name, tokens in found.items():
                self._tokens[kind, name] = self._tokens.get((kind, name), Tokens()).plus(tokens)
            self._marks[kind] = high
        return True
