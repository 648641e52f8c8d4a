"""Results of calls that end together are yielded together."""

from __future__ import annotations

import queue
import time
from collections.abc import Generator

from karma.errors import ReleasedError
from karma.llm.completions import ChatResult

#: Queue of (index, result) of one `complete`. Result None: the call was not begun. None instead of a tuple: the end.
Results = queue.SimpleQueue[tuple[int, ChatResult | None] | None]


def next_group(arrivals: Results, most: int, linger_s: float) -> list[tuple[int, ChatResult | None]]:
    """The results after the first has waited `linger_s`, or the first `most`; an empty list at the end."""
    first = arrivals.get()
    if first is None:
        return []
    group = [first]
    until = time.monotonic() + linger_s
    while len(group) < most:
        try:
            entry = arrivals.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            break
        if entry is None:
            arrivals.put(None)  # for the next group
            break
        group.append(entry)
    return group


def in_groups(
    arrivals: Results, number: int, linger_s: float, client: str, name: str, not_begun: str
) -> Generator[list[tuple[int, ChatResult]], None, None]:
    """Yield the results of `number` calls in groups, as they arrive.

    Raises:
        ReleasedError: the client was closed (`client`) with calls to `name` under way, or calls were not begun
            (`not_begun`); what arrived was yielded before.
    """
    left, begun = number, True
    while left:
        group = next_group(arrivals, left, linger_s)
        if not group:
            raise ReleasedError(f"the {client} was closed with {left} calls to {name} under way")
        left -= len(group)
        results = [(index, result) for index, result in group if result is not None]
        begun = begun and len(results) == len(group)
        if results:
            yield results
    if not begun:
        raise ReleasedError(not_begun)
