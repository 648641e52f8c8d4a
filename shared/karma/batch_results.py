"""Every item of a batch ends exactly once, whatever the backend or the judge that was asked does."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from karma.errors import KarmaError, ReleasedError

log = logging.getLogger(__name__)

_REASON_CHARACTERS = 500


class Numbered(Protocol):
    """What names the open work that it asks for or answers."""

    @property
    def item(self) -> int:
        """The number of the open work."""
        ...


Item = TypeVar("Item", bound=Numbered)
Result = TypeVar("Result", bound=Numbered)


def one_result_per_item(
    items: Sequence[Item],
    ask: Callable[[], Iterable[Sequence[Result]]],
    settle: Callable[[Item, Result], Result],
    fail: Callable[[Item, str], Result],
    who: str,
) -> Iterator[tuple[Result, ...]]:
    """The results on `items`, in groups as `ask` gives them, exactly one for each.

    An item that `ask` forgets, or does not reach because it raises, ends by `fail` with the reason. A second result on
    an item and a result on none of the items are dropped. Where the rest is to be handed back, its items stay open.

    Args:
        items: what is to be answered.
        ask: gives groups of results in any order.
        settle: makes a result sound.
        fail: the result that says why there is none.
        who: was asked, as reasons and logs name it.

    Raises:
        ReleasedError: no more may be begun; items that gave no result yet are not failed.
    """
    waiting = {item.item: item for item in items}
    reason = f"{who} gave no answer"
    try:
        for group in ask():
            fresh: dict[int, Result] = {}
            for result in group:
                if result.item in waiting and result.item not in fresh:
                    fresh[result.item] = settle(waiting[result.item], result)
            if fresh:
                for number in fresh:
                    del waiting[number]
                yield tuple(fresh.values())
    except ReleasedError:
        raise
    except Exception as cause:
        log.exception("%s failed; %d of %d items were still open", who, len(waiting), len(items))
        reason = reason_of(cause, f"{who} failed")
    if waiting:
        yield tuple(fail(item, reason) for item in waiting.values())


def reason_of(cause: Exception, what: str) -> str:
    """An error as a reason that is stored and shown: only what is raised on purpose holds nothing of a prompt."""
    said = str(cause) if isinstance(cause, KarmaError) else type(cause).__name__
    return storable(f"{what}: {said}")[:_REASON_CHARACTERS]


def storable(text: str) -> str:
    """The text without what JSON or a database cannot hold: NUL becomes �, half of a surrogate pair `?`."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
