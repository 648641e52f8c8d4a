"""Weighted max-min fairness between streams: pure arithmetic on how many places each holds.

The next place goes to the stream that holds the fewest per weight (Bertsekas & Gallager, *Data Networks*, section
6.5.2). A stream's fair share is its weight's part of all places, among the streams that hold or want one.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping

#: A stream's prompts travel in the express lane while it holds at most this part of its fair share.
_EXPRESS_PART = 0.5


def next_places(
    size: int, most: int, held: Mapping[str, int], wanting: Collection[str], weights: Mapping[str, float]
) -> dict[str, int]:
    """How many more places each stream gets.

    Nobody takes a place away from a stream that holds more than its share: its places may never become free, as where
    its models answer nothing. So a stream below its fair share gets places up to it although all are in use. Beyond
    that, places are given only while some are free.

    Args:
        size: how many places there are.
        most: how many are given now, at most.
        held: places in use by stream.
        wanting: streams that want more.
        weights: of all these streams, > 0.

    Returns:
        Places by stream, of those that get any, the neediest first.
    """
    places = {name: held.get(name, 0) for name in wanting}
    active = {name for name, number in held.items() if number > 0}.union(wanting)
    fair_level = size / sum(weights[name] for name in active) if active else 0.0
    free = size - sum(held.values())
    given: dict[str, int] = {}
    queue = [(*_need(number, weights[name]), name) for name, number in places.items()]
    heapq.heapify(queue)
    while queue and most > 0:
        *_, name = queue[0]
        if free <= 0 and (places[name] + 1) / weights[name] > fair_level:
            heapq.heappop(queue)
            continue
        places[name] += 1
        given[name] = given.get(name, 0) + 1
        free -= 1
        most -= 1
        heapq.heapreplace(queue, (*_need(places[name], weights[name]), name))
    return given


def _need(places: int, weight: float) -> tuple[float, float]:
    """The least comes first: places per weight with the next one, and then the heavier stream.

    Streams without any place come before all others, however small their weight.
    """
    return ((places + 1) / weight if places > 0 else 0.0, -weight)


def is_below_share(name: str, size: int, held: Mapping[str, int], weights: Mapping[str, float]) -> bool:
    """Whether a stream holds less than its fair share of `size` places, among the streams that hold any and itself."""
    active = {other for other, places in held.items() if places > 0} | {name}
    return held.get(name, 0) < size * weights[name] / sum(weights[other] for other in active)


def is_express(name: str, more: int, held: Mapping[str, int], weights: Mapping[str, float]) -> bool:
    """Whether `more` prompts of a stream travel in the express lane.

    They do if the stream then holds at most half of its fair share of what is in flight: streams in balance keep the
    order of the normal lane.
    """
    mine, total = held.get(name, 0) + more, sum(held.values()) + more
    active = {other for other, places in held.items() if places > 0} | {name}
    return mine <= _EXPRESS_PART * total * weights[name] / sum(weights[other] for other in active)
