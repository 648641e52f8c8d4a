"""How many calls of a model were under way, from when each began and ended."""

from __future__ import annotations

from array import array
from bisect import bisect_left


class Spans:
    """When calls began and ended, in seconds of one clock."""

    def __init__(self) -> None:
        self._starts, self._ends = array("d"), array("d")

    def add(self, start: float, end: float) -> None:
        """Add a call that has ended."""
        self._starts.append(start)
        self._ends.append(end)

    def mean_under_way(self, low: float, high: float) -> float:
        """Calls under way on average, between the ends of the calls at two shares of all, in the order of their ends.

        Raises:
            ValueError: the two calls are not two, or ended at the same time.
        """
        ends = sorted(self._ends)
        begin, end = (ends[min(len(ends) - 1, int(share * len(ends)))] for share in (low, high))
        if begin >= end:
            raise ValueError(f"nothing lies between the shares {low} and {high} of {len(ends)} calls")
        order = sorted(range(len(self._ends)), key=self._ends.__getitem__)
        first = bisect_left(ends, begin)  # calls that ended before the window add nothing
        within = (
            min(self._ends[index], end) - max(self._starts[index], begin)
            for index in order[first:]
            if self._starts[index] < end
        )
        return sum(within) / (end - begin)
