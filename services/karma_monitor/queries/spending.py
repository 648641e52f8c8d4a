"""Calls of models and judges about some prompts: how many, their tokens, and their stored cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from karma.config.pricing import Usage, money
from karma.config.settings import Price
from karma.store.schema import pairs, prompts, responses, verdicts


@dataclass(frozen=True)
class Spending:
    """What some prompts took.

    Attributes:
        models: calls of models that were begun, also those that failed; given responses are none.
        judges: calls of judges that were begun.
        tokens_in: read.
        tokens_out: written.
        metered: calls whose tokens are known.
        cost: USD, of the calls with known tokens and a known price; None if there are none.
        priced: how many calls that are.
    """

    models: int = 0
    judges: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    metered: int = 0
    cost: float | None = None
    priced: int = 0

    @property
    def calls(self) -> int:
        """All calls."""
        return self.models + self.judges

    def data(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "model_calls": self.models,
            "judge_calls": self.judges,
            "tokens_in": self.tokens_in if self.metered else None,
            "tokens_out": self.tokens_out if self.metered else None,
            "cost_usd": None if self.cost is None else round(self.cost, 6),
            "calls_without_cost": self.calls - self.priced,
        }

    def sentence(self) -> str:
        """For people."""
        said = f"calls: {self.models:,} of models, {self.judges:,} of judges"
        if self.metered:
            unknown = "" if self.metered == self.calls else f" (of {self.calls - self.metered:,} calls unknown)"
            said += f"; tokens: {self.tokens_in:,} read, {self.tokens_out:,} written{unknown}"
        if self.cost is not None:
            unknown = (
                "" if self.priced == self.calls else f", without {self.calls - self.priced:,} calls of unknown cost"
            )
            said += f"; cost: ${self.cost:,.4f}{unknown}"
        return said


def spending(connection: Connection, among: ColumnElement[bool], prices: Mapping[str, Price]) -> Spending:
    """The calls about the prompts that meet a condition."""
    asked = responses.join(prompts, prompts.c.id == responses.c.prompt)
    judged = verdicts.join(pairs, pairs.c.id == verdicts.c.pair).join(prompts, prompts.c.id == pairs.c.prompt)
    totals = dict.fromkeys(("models", "judges", "tokens_in", "tokens_out", "metered", "priced"), 0)
    costs = []
    for kind, table, source, name in (
        ("models", responses, asked, responses.c.model),
        ("judges", verdicts, judged, verdicts.c.judge),
    ):
        tokens = func.coalesce(table.c.tokens_in, table.c.tokens_out)
        unpriced = table.c.cost_usd.is_(None)
        query = select(
            name,
            func.count(),
            func.count(tokens),
            func.coalesce(func.sum(table.c.tokens_in), 0),
            func.coalesce(func.sum(table.c.tokens_out), 0),
            func.count(table.c.cost_usd),
            func.sum(table.c.cost_usd),
            func.count(tokens).filter(unpriced),
            func.sum(table.c.tokens_in).filter(unpriced),
            func.sum(table.c.tokens_out).filter(unpriced),
        ).select_from(source)
        query = query.where(among, func.coalesce(table.c.latency_s, tokens).is_not(None)).group_by(name)
        for of, calls, metered, read, written, priced, cost, earlier, *usage in connection.execute(query):
            totals[kind] += int(calls)
            for total, more in (("metered", metered), ("tokens_in", read), ("tokens_out", written), ("priced", priced)):
                totals[total] += int(more)
            if priced:
                costs.append(float(cost))
            # Calls of versions that stored no money: a price is linear in tokens, so their sum is priced.
            if earlier and (of_earlier := money(prices.get(of), None, Usage(*map(_whole, usage)))) is not None:
                costs.append(of_earlier)
                totals["priced"] += int(earlier)
    return Spending(**totals, cost=sum(costs) if costs else None)


def _whole(total: Any) -> int | None:
    return None if total is None else int(total)
