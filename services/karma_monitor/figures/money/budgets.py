"""Budgets in USD, as the gateway holds streams to them, what is spent of each, and which streams wait for more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import select

from karma.config.pool import Pool
from karma.store import Transaction
from karma.store.schema import EVERYTHING, prompts
from karma.store.spending import Budget
from karma.store.streams import stream_ends


def budgets_usd(transaction: Transaction, pool: Pool | None, most: int | None = None) -> dict[str, dict[str, Any]]:
    """Stream (`*`: all together) → its limits, USD spent, and whether prompts of it wait for a higher budget.

    Args:
        transaction: of the store.
        pool: whose prices apply to calls without stored money; None: they count as nothing.
        most: budgets that are named; None: all.
    """
    limits = transaction.spending.budgets()
    limits = dict(sorted(limits.items())[:most])
    spent = transaction.spending.spent_under(limits, pool.prices if pool else {}) if limits else {}
    return {
        stream: {
            "budget_usd": budget.total_usd,
            "budget_usd_per_day": budget.day_usd,
            "spent_usd": spent[stream][0] if budget.total_usd is not None else None,
            "spent_today_usd": spent[stream][1] if budget.day_usd is not None else None,
            "waits": budget.left(*spent[stream]) <= 0 and _is_unfinished(transaction, stream),
        }
        for stream, budget in limits.items()
    }


def _is_unfinished(transaction: Transaction, stream: str) -> bool:
    query = select(prompts.c.id).where(prompts.c.ended_at.is_(None)).limit(1)
    if stream != EVERYTHING:
        query = query.where(prompts.c.admitted.in_((0, 1)), prompts.c.stream == stream)  # as the index begins
    return transaction.ledger.connection.execute(query).first() is not None


def ends(transaction: Transaction) -> dict[str, dict[str, int | None]]:
    """Stream → the preferences and the admitted prompts at which its admission stops (`karma enqueue --until`)."""
    return {
        stream: {"preferences": end.preferences, "most_prompts": end.most_admitted}
        for stream, end in sorted(stream_ends(transaction.ledger.connection).items())
    }


def described(found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """For people: each budget, what is spent of it, and whether the stream waits."""
    for stream, budget in found.items():
        name = "all streams" if stream == EVERYTHING else stream
        goes_on = "a higher budget, or for the next day (UTC)" if _is_of_day(budget) else "a higher budget"
        waits = f"; it waits for {goes_on}" if budget["waits"] else ""
        yield f"budget of {name}: {', '.join(_amounts(budget))}{waits}"


def waiting(found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A sentence for each budget that prompts wait for."""
    for stream, budget in found.items():
        if budget["waits"]:
            what = "All streams wait" if stream == EVERYTHING else f"{stream} waits"
            helps = "It goes on at 0:00 UTC; or raise" if _is_of_day(budget) else "Raise"
            yield f"{what} for budget: {', '.join(_amounts(budget))}. {helps} it in the pool file, restart the gateway."


def _is_of_day(budget: Mapping[str, Any]) -> bool:
    """Whether only the day's budget is spent, where any is."""
    of_day, total = budget["budget_usd_per_day"], budget["budget_usd"]
    return of_day is not None and (total is None or Budget(total).left(budget["spent_usd"], 0.0) > 0)


def _amounts(budget: Mapping[str, Any]) -> Iterable[str]:
    if budget["budget_usd"] is not None:
        yield f"{_of(budget['spent_usd'], budget['budget_usd'])} spent"
    if budget["budget_usd_per_day"] is not None:
        yield f"{_of(budget['spent_today_usd'], budget['budget_usd_per_day'])} spent today (UTC)"


def _of(spent: float, budget: float) -> str:
    digits = 2 if budget >= 1 else 4
    return f"{spent:,.{digits}f} of {budget:,.{digits}f} USD"
