"""Ingest: validates prompts one by one, accepts the valid ones, and gives the reason for each refusal.

The source does not matter: a line of a file, a row of a table and a request become the same prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from karma.config.derived_streams import check_enqueued
from karma.queue.fault_injection import reach
from karma.store import Store
from karma.store.records import NewPrompt
from karma_gateway.json_values import RefusedError
from karma_gateway.prompt_lines import read
from karma_gateway.sources.duplicates import Duplicates
from karma_gateway.sources.items import Fault, Item, Line

__all__ = ["Line", "Reader", "Receipt", "Refusal", "take"]


class Reader(Protocol):
    """Makes a prompt of an item."""

    def __call__(self, item: Item) -> NewPrompt:
        """The prompt.

        Raises:
            RefusedError: the item holds none; the reason.
        """
        ...


@dataclass(frozen=True)
class Refusal:
    """An item that was not accepted, with the reason."""

    source: str
    number: int  # 0: the whole source
    reason: str
    item: Item | None = None

    def __str__(self) -> str:
        """The refusal as a sentence."""
        return f"{self.source}:{self.number}: {self.reason}" if self.number else f"{self.source}: {self.reason}"


@dataclass
class Receipt:
    """The result for the items of one stream."""

    accepted: int = 0
    present: int = 0
    skipped: int = 0  # duplicates that were left out
    kept: int = 0  # duplicates that were taken
    refused: list[Refusal] = field(default_factory=list)


def take(
    store: Store,
    stream: str,
    items: Sequence[Item],
    *,
    max_bytes: int,
    priority: int = 0,
    all_or_nothing: bool = False,
    reader: Reader | None = None,
    duplicates: Duplicates | None = None,
) -> Receipt:
    """Accept the valid items in one transaction and refuse the others. The receipt is made after the commit.

    With `all_or_nothing`, one refusal rolls the transaction back, and no item is accepted. Without a `reader`, items
    are lines in KARMA's own form. Without `duplicates`, only the ids of prompts are compared.

    Raises:
        SettingsError: the stream's name is reserved for `karma rematch`.
    """
    check_enqueued(stream)
    receipt = Receipt()
    valid: list[tuple[Item, NewPrompt]] = []
    for item in items:
        try:
            if reader is not None:
                valid.append((item, reader(item)))
            else:
                valid.append((item, _line(item, max_bytes, priority)))
        except RefusedError as cause:
            receipt.refused.append(Refusal(item.source, item.number, str(cause), item))
    if duplicates is not None:
        valid, receipt.skipped, receipt.kept = duplicates.sort_out(valid)
    try:
        with store.transaction() as transaction:
            answers = transaction.ledger.accept(stream, [prompt for _item, prompt in valid])
            for (item, prompt), answer in zip(valid, answers, strict=True):
                if answer == "conflict":
                    reason = f"the id {prompt.prompt_id!r} exists in stream {stream!r} with other content"
                    receipt.refused.append(Refusal(item.source, item.number, reason, item))
            if all_or_nothing and receipt.refused:
                raise _RolledBackError
            reach("ingest.before_commit")
        reach("ingest.after_commit")
    except _RolledBackError:
        answers = []
    receipt.accepted, receipt.present = answers.count("accepted"), answers.count("present")
    receipt.refused.sort(key=lambda refusal: refusal.number)
    return receipt


def _line(item: Item, max_bytes: int, priority: int) -> NewPrompt:
    if isinstance(item, Fault):
        raise RefusedError(item.reason)
    if not isinstance(item, Line):
        raise RefusedError("a row of a table, where a line in JSON is expected")
    return read(item.content, max_bytes, priority)


class _RolledBackError(Exception):
    """Rolls the transaction back."""
