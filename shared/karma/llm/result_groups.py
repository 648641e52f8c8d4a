"""Results of calls that end together are yielded together."""

from __future__ import annotations

import queue
import time

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
