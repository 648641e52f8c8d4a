"""What a source yields: the text of a prompt, a row of a table, or a part that could not be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Line:
    """The text of a prompt, with its source."""

    source: str  # file name
    number: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table, as JSON values by column."""

    source: str
    number: int  # of a CSV file: the line that it begins at; else from 1
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """A part of a source that cannot be read; the rest of it goes on."""

    source: str
    number: int  # 0: the whole source
    reason: str


Item: TypeAlias = Line | Row | Fault

#: Items accepted in one transaction, and the bytes of their texts: memory is bounded by the smaller of both.
ITEMS_AT_ONCE = 4_000
BYTES_AT_ONCE = 8 << 20
