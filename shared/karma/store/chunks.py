"""Long lists of ids in the pieces that a database takes in one statement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

ITEMS_PER_QUERY = 500

_T = TypeVar("_T")


def chunks(values: Sequence[_T], size: int = ITEMS_PER_QUERY) -> Iterator[Sequence[_T]]:
    """Consecutive pieces of at most `size` values."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
