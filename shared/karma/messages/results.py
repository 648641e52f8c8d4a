"""Batch results: exactly one result per item, whatever a backend or a judge returns."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

import msgspec

from karma.errors import KarmaError, ReleasedError

log = logging.getLogger(__name__)

#: The longest stored reason of a failure.
REASON_CHARACTERS = 500


class Numbered(Protocol):
    """An item or a result, with the id of its open work."""

    @property
    def item(self) -> int:
        """The id of the open work."""
        ...


Item = TypeVar("Item", bound=Numbered)
Result = TypeVar("Result", bound=Numbered)


def one_result_per_item(
    items: Sequence[Item],
    ask: Callable[[], Iterable[Sequence[Result]]],
    settle: Callable[[Item, Result], Result],
    fail: Callable[[Item, str], Result],
    who: str,
    ask_alone: Callable[[Item], Iterable[Sequence[Result]]] | None = None,
) -> Iterator[tuple[Result, ...]]:
    """Exactly one result per item, in the groups that `ask` yields.

    An item without a result, also because `ask` raised, fails with the reason. Second results for an item, and results
    for other items, are dropped. If the batch is released, items without a result stay open. After an error that
    may be of one item (neither KARMA's own nor of the system), each item without a result is asked alone.

    Args:
        items: the items of the batch.
        ask: yields groups of results in any order.
        settle: makes a result valid.
        fail: makes a failed result with a reason.
        who: the backend or judge, for reasons and logs.
        ask_alone: the same as `ask`, for one item; None if items cannot be asked alone.

    Raises:
        ReleasedError: no more work may begin; items without a result are not failed.
    """
    waiting = {item.item: item for item in items}
    reason = f"{who} gave no answer"

    def settled(group: Sequence[Result]) -> tuple[Result, ...]:
        fresh = []
        for result in group:
            item = waiting.pop(result.item, None)
            if item is not None:
                fresh.append(_settled(item, result, settle, fail, who))
        return tuple(fresh)

    try:
        for group in ask():
            if fresh := settled(group):
                yield fresh
    except ReleasedError:
        raise
    except Exception as cause:
        log.exception("%s failed; %d of %d items have no result", who, len(waiting), len(items))
        reason = reason_of(cause, f"{who} failed")
        if ask_alone is not None and len(items) > 1 and not isinstance(cause, KarmaError | OSError):
            for item in list(waiting.values()):
                try:
                    for group in ask_alone(item):
                        if fresh := settled(group):
                            yield fresh
                except ReleasedError:
                    raise
                except Exception as alone:
                    log.warning("%s failed on one item: %s", who, type(alone).__name__)
    if waiting:
        yield tuple(fail(item, reason) for item in waiting.values())


def _settled(
    item: Item,
    result: Result,
    settle: Callable[[Item, Result], Result],
    fail: Callable[[Item, str], Result],
    who: str,
) -> Result:
    """The result, made valid; a failure if that raises, which must not affect other items.

    It is read back as its receiver will read it: a field out of its bounds would make the whole message unreadable.
    """
    try:
        settled = settle(item, result)
        msgspec.json.decode(msgspec.json.encode(settled), type=type(settled))
        return settled
    except Exception as cause:
        log.exception("%s returned a result that cannot be used", who)
        return fail(item, reason_of(cause, f"{who} returned a result that cannot be used"))


def reason_of(cause: Exception, what: str) -> str:
    """An error as a stored reason. Only the text of KARMA's own errors is included: any other may quote a prompt."""
    text = str(cause) if isinstance(cause, KarmaError) else type(cause).__name__
    return storable(f"{what}: {text}")[:REASON_CHARACTERS]


def storable(text: str) -> str:
    """The text as JSON and databases accept it: NUL becomes �, a lone surrogate `?`."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
