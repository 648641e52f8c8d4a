"""Results of calls that end together are yielded together."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Generator

from karma.errors import ReleasedError
from karma.llm.completions import ChatResult


class Results:
    """The results of one `complete`, on their way from the event loop to the thread that waits for them.

    The thread is woken once a group, not once a result, which would cost more than the result itself.

    Args:
        number: of calls.
        linger_s: that a result waits for others.
    """

    def __init__(self, number: int, linger_s: float) -> None:
        self._linger_s = linger_s
        self._left = number
        self._arrived: list[tuple[int, ChatResult | None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._groups: queue.SimpleQueue[list[tuple[int, ChatResult | None]]] = queue.SimpleQueue()

    def put(self, index: int, result: ChatResult | None) -> None:
        """Add a result, in the event loop; None: the call was not begun."""
        self._arrived.append((index, result))
        self._left -= 1
        if not self._left:
            self._hand_over()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._linger_s, self._hand_over)

    def end(self) -> None:
        """Say that no more results come."""
        self._hand_over()
        self._groups.put([])

    def next_group(self) -> list[tuple[int, ChatResult | None]]:
        """Wait for results; an empty list at the end."""
        return self._groups.get()

    def _hand_over(self) -> None:
        group, self._arrived, self._timer = self._arrived, [], None
        if group:
            self._groups.put(group)


def in_groups(
    arrivals: Results, number: int, client: str, name: str, not_begun: str
) -> Generator[list[tuple[int, ChatResult]], None, None]:
    """Yield the results of `number` calls in groups, as they arrive.

    Raises:
        ReleasedError: the client was closed (`client`) with calls to `name` under way, or calls were not begun
            (`not_begun`); what arrived was yielded before.
    """
    left, begun = number, True
    while left:
        group = arrivals.next_group()
        if not group:
            raise ReleasedError(f"the {client} was closed with {left} calls to {name} under way")
        left -= len(group)
        results = [(index, result) for index, result in group if result is not None]
        begun = begun and len(results) == len(group)
        if results:
            yield results
    if not begun:
        raise ReleasedError(not_begun)
