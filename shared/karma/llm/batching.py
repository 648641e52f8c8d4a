"""Groups rows of tokens by length, so that they need little padding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence


def batches(rows: Mapping[int, Sequence[int]], size: int, room: Mapping[int, int] | None = None) -> Iterator[list[int]]:
    """Indices in order of length, in groups of at most `size`: rows of similar length need little padding.

    A group can generate as many tokens as its longest row has room for. A row with less than half of the room of the
    group's first row begins a new group, so that no row loses more than half of its room to a longer one.
    """
    group: list[int] = []
    for index in sorted(rows, key=lambda index: (len(rows[index]), index)):
        if group and (len(group) == size or (room is not None and 2 * room[index] < room[group[0]])):
            yield group
            group = []
        group.append(index)
    if group:
        yield group
