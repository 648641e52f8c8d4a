"""Groups rows of tokens by length, so that they need little padding and fit into memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence


def batches(
    rows: Mapping[int, Sequence[int]],
    size: int,
    room: Mapping[int, int] | None = None,
    most_tokens: int | None = None,
) -> Iterator[list[int]]:
    """Indices in order of length, in groups of at most `size`: rows of similar length need little padding.

    A group can generate as many tokens as its longest row has room for. A row with less than half of the room of the
    group's first row begins a new group, so that no row loses more than half of its room to a longer one.

    Args:
        rows: index → tokens.
        size: rows of a group, at most.
        room: index → new tokens of a row; None: nothing is generated.
        most_tokens: of a group, its padding and what it may generate included; None: no limit. A longer row is a
            group of its own.
    """
    group: list[int] = []
    for index in sorted(rows, key=lambda index: (len(rows[index]), index)):
        if group:
            # The rows are in order of length: this one sets the padding of all, and has the least room.
            padded = (len(group) + 1) * (len(rows[index]) + (0 if room is None else room[index]))
            is_full = len(group) == size or (most_tokens is not None and padded > most_tokens)
            if is_full or (room is not None and 2 * room[index] < room[group[0]]):
                yield group
                group = []
        group.append(index)
    if group:
        yield group
