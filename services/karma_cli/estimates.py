"""`karma enqueue --estimate`: what a file would cost, said without accepting a prompt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing

from rich.table import Table
from rich.text import Text

from karma.config.environment import Environment
from karma.config.pool import Pool
from karma.errors import SettingsError
from karma.store.records import NewPrompt
from karma.telemetry.escaping import escape_control
from karma_cli.options import open_store_to_read
from karma_cli.output import Output
from karma_gateway.ingest import Reader
from karma_gateway.json_values import RefusedError
from karma_gateway.sources.items import Item
from karma_monitor.figures.money.estimate import Estimate, estimate


def show_estimate(
    output: Output,
    env: Environment,
    pool: Pool | None,
    stream: str,
    chunks: Iterable[Sequence[Item]],
    reader: Reader,
    most: int | None,
) -> None:
    """Print what the prompts would cost, at most `most` of them; those that the stream has already cost nothing.

    Raises:
        SettingsError: there is no pool file, or the file holds no prompt.
    """
    if pool is None:
        raise SettingsError(f"{env.pool_path}: no such file; an estimate goes by its models, judges and prices")
    found, refused = _read(chunks, reader)
    with closing(open_store_to_read(env)) as store, store.reading() as transaction:
        present = transaction.ledger.present(stream, found)
        new = [prompt for id_, prompt in found.items() if id_ not in present][:most]
        new.sort(key=lambda prompt: prompt.given is not None)
        lengths = [len(prompt.messages) for prompt in new]
        result = estimate(transaction, pool, stream, lengths, sum(prompt.given is not None for prompt in new))
        spent = transaction.spending.spent(pool.prices, stream)
    if not found:
        raise SettingsError("there is no prompt to estimate the cost of")
    if refused:
        output.note(f"{refused:,} lines would be refused")
    output.note(escape_control(result.sentence()))
    budget = pool.stream(stream).budget_usd
    if budget is not None and result.cost_usd is not None and result.cost_usd > budget - spent:
        left = f"{max(0.0, budget - spent):,.4f} of {budget:,.4f} USD"
        output.note(escape_control(f"the budget of {stream} ends it before: {left} are left (budget_usd)"))
    data = {"stream": stream, "present": len(present), "refused": refused, **result.data()}
    output.result(data, _table(result), [result.cost_usd if result.cost_usd is not None else "unknown"])


def _read(chunks: Iterable[Sequence[Item]], reader: Reader) -> tuple[dict[str, NewPrompt], int]:
    """The valid prompts by their id, and the number of lines that are none."""
    found: dict[str, NewPrompt] = {}
    refused = 0
    for items in chunks:
        for item in items:
            try:
                prompt = reader(item)
            except RefusedError:
                refused += 1
            else:
                found.setdefault(prompt.prompt_id, prompt)
    return found, refused


def _table(result: Estimate) -> Table:
    table = Table("", "name", "calls", "input tokens", "output tokens", "USD", "from")
    for part in result.parts:
        numbers = (part.calls, part.tokens_in, part.tokens_out)
        counts = ("–" if number is None else f"{number:,.0f}" for number in numbers)
        cost = "–" if part.cost_usd is None else f"{part.cost_usd:,.4f}"
        table.add_row(part.kind, Text(escape_control(part.name)), *counts, cost, Text(part.assumes))
    return table
