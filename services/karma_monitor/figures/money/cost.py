"""The cost of all recorded calls: the money that was stored with each, summed up in the ledger as it is recorded.

Calls whose money is not stored (those of earlier versions) have the pool file's price of today.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from karma.config.pool import Pool
from karma.config.pricing import Kind
from karma.config.settings import Price
from karma.store import Store
from karma.store.spending import Sums


@dataclass(frozen=True)
class Cost:
    """Calls of models and judges, and what they cost."""

    sums: Mapping[tuple[Kind, str], Sums]  # by model or judge
    prices: Mapping[str, Price]

    @property
    def total(self) -> float | None:
        """USD, of the calls with a known cost; None where that of none is known and the pool has no prices."""
        costs = [self.of(kind, name) for kind, name in self.sums]
        known = [cost for cost in costs if cost is not None]
        return sum(known) if known or self.prices else None

    @property
    def unknown_calls(self) -> int:
        """Calls that are not in the total: without a price or a token count."""
        return sum(sums.calls - sums.known(self.prices.get(name)) for (_, name), sums in self.sums.items())

    @property
    def excluded(self) -> list[str]:
        """The models and judges whose calls, or some of them, are not in the total."""
        named = self.sums.items()
        return sorted({name for (_, name), sums in named if sums.known(self.prices.get(name)) < sums.calls})

    def of(self, kind: Kind, name: str) -> float | None:
        """USD, of one model or judge; None where that of no call is known."""
        sums, price = self.sums[kind, name], self.prices.get(name)
        return sums.cost(price) if sums.known(price) else None


class Costs:
    """Reads the running sums of all streams; the time it takes does not depend on the number of calls."""

    def __init__(self, store: Store, pool: Pool) -> None:
        self._store = store
        self._prices = pool.prices
        # Judges without a model make no API calls, nor do the models of given responses.
        self._called = {*pool.models, *(judge.name for judge in pool.judges.values() if judge.model is not None)}

    def read(self) -> Cost:
        """The cost so far."""
        with self._store.reading() as transaction:
            sums = transaction.spending.by_name()
        return Cost({key: one for key, one in sums.items() if key[1] in self._called}, self._prices)
