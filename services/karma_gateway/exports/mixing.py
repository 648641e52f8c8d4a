"""The order of rows of which no two neighbors may answer the same prompt, such as those of KTO."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

#: Rows that are tried in each direction for a row that may take a wrong neighbor's place.
_TRIED = 2_000


def mixed_order(prompts: Sequence[int]) -> list[int]:
    """The indices of rows in a mixed order; `prompts` has a number in [0, 2⁶³) for each row's prompt.

    The rows of a prompt are spread evenly over the whole, in an order drawn at random, so that good and bad answers are
    mixed. It is the same for the same rows. Neighbors share a prompt only if more than half of all rows do.
    """
    if not len(prompts):
        return []
    prompt = np.asarray(prompts, dtype=np.int64)
    drawn = np.random.default_rng(len(prompt))
    by_prompt = np.lexsort((drawn.random(len(prompt)), prompt))
    _names, first, size = np.unique(prompt[by_prompt], return_index=True, return_counts=True)
    offset = drawn.random(len(first))
    place = (np.arange(len(prompt)) - np.repeat(first, size) + np.repeat(offset, size)) / np.repeat(size, size)
    order: list[int] = by_prompt[np.argsort(place, kind="stable")].tolist()
    _separate(order, prompts)
    most = int(size.max())
    if most * 2 <= len(order) + 1 and _neighbors(order, prompts):
        order = _by_number(order, prompts)
    return order


def _neighbors(order: Sequence[int], prompts: Sequence[int]) -> int:
    """The number of neighbors that share a prompt."""
    return sum(prompts[a] == prompts[b] for a, b in pairwise(order))


def _separate(order: list[int], prompts: Sequence[int]) -> None:
    """Swap rows that stand beside an answer to the same prompt with the nearest ones that may."""

    def fits(place: int) -> bool:
        row = prompts[order[place]]
        return not any(0 <= other < len(order) and prompts[order[other]] == row for other in (place - 1, place + 1))

    for place in range(1, len(order)):
        if prompts[order[place]] != prompts[order[place - 1]]:
            continue
        nearby = [*range(place + 1, place + _TRIED), *range(place - 2, place - _TRIED, -1)]
        for other in nearby:
            if not 0 <= other < len(order) or prompts[order[other]] == prompts[order[place]]:
                continue
            order[place], order[other] = order[other], order[place]
            if fits(place) and fits(other):
                break
            order[place], order[other] = order[other], order[place]


def _by_number(order: Sequence[int], prompts: Sequence[int]) -> list[int]:
    """An order without such neighbors: always a row of the prompt with most rows left that is not the last one's."""
    rows: dict[int, list[int]] = {}
    for index in reversed(order):
        rows.setdefault(prompts[index], []).append(index)
    left = [(-count, prompt) for prompt, count in Counter(prompts).items()]
    heapq.heapify(left)
    made: list[int] = []
    held: tuple[int, int] | None = None
    while left:
        count, prompt = heapq.heappop(left)
        made.append(rows[prompt].pop())
        if held is not None:
            heapq.heappush(left, held)
        held = (count + 1, prompt) if count + 1 else None
    return made
