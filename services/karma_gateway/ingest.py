"""Ingest: validates prompts one by one, accepts the valid ones, and gives the reason for each refusal.

The source does not matter: prompts from a file, a pipe or a request are the same text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from karma.config.derived_streams import check_enqueued
from karma.queue.fault_injection import reach
from karma.store import Store
from karma.store.records import NewPrompt
from karma_gateway.json_values import RefusedError
from karma_gateway.prompt_lines import read


@dataclass(frozen=True)
class Line:
    """The text of a prompt, with its source."""

    source: str  # file name
    number: int
    content: bytes


@dataclass(frozen=True)
class Refusal:
    """A line that was not accepted, with the reason."""

    source: str
    number: int
    reason: str

    def __str__(self) -> str:
        """The refusal as a sentence."""
        return f"{self.source}:{self.number}: {self.reason}"


@dataclass
class Receipt:
    """The result for the lines of one stream."""

    accepted: int = 0
    present: int = 0
    refused: list[Refusal] = field(default_factory=list)


def take(
    store: Store, stream: str, lines: Sequence[Line], *, max_bytes: int, priority: int = 0, all_or_nothing: bool = False
) -> Receipt:
    """Accept the valid lines in one transaction and refuse the others. The receipt is made after the commit.

    With `all_or_nothing`, one refusal rolls the transaction back, and no line is accepted.

    Raises:
        SettingsError: the stream's name is reserved for `karma rematch`.
    """
    check_enqueued(stream)
    receipt = Receipt()
    valid: list[tuple[Line, NewPrompt]] = []
    for line in lines:
        try:
            valid.append((line, read(line.content, max_bytes, priority)))
        except RefusedError as cause:
            receipt.refused.append(Refusal(line.source, line.number, str(cause)))
    try:
        with store.transaction() as transaction:
            answers = transaction.ledger.accept(stream, [prompt for _line, prompt in valid])
            for (line, prompt), answer in zip(valid, answers, strict=True):
                if answer == "conflict":
                    reason = f"the id {prompt.prompt_id!r} exists in stream {stream!r} with other content"
                    receipt.refused.append(Refusal(line.source, line.number, reason))
            if all_or_nothing and receipt.refused:
                raise _RolledBackError
            reach("ingest.before_commit")
        reach("ingest.after_commit")
    except _RolledBackError:
        answers = []
    receipt.accepted, receipt.present = answers.count("accepted"), answers.count("present")
    receipt.refused.sort(key=lambda refusal: refusal.number)
    return receipt


class _RolledBackError(Exception):
    """Rolls the transaction back."""
