"""Rows of comma-, semicolon- or tab-separated values. A cell is a text (`007` stays `007`) or, if empty, null."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from karma.errors import SettingsError
from karma_gateway.json_values import names
from karma_gateway.sources.byte_streams import BytesFile, ByteStream
from karma_gateway.sources.items import BYTES_AT_ONCE, ITEMS_AT_ONCE, Fault, Item, Row


def csv_chunks(stream: ByteStream, name: str, separator: str, max_bytes: int) -> Iterator[list[Item]]:
    """The rows of a table whose first line names the columns. A broken row takes no other with it.

    Raises:
        SettingsError: the first line names a column twice.
    """
    csv.field_size_limit(max_bytes + 1)
    # Bytes that are no UTF-8 become lone surrogates, for which the one row is refused.
    lines = _Lines(
        io.TextIOWrapper(
            io.BufferedReader(BytesFile(stream)), encoding="utf-8-sig", errors="surrogateescape", newline=""
        )
    )
    reader = csv.reader(lines, delimiter=separator)
    header: list[str] | None = None
    chunk: list[Item] = []
    size = 0
    while True:
        number = lines.begin_row()
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as cause:
            lines.leave_quotes()
            chunk.append(Fault(name, number, _broken(cause, lines.ended, max_bytes)))
            continue
        if not cells:
            continue
        if header is None:
            header = _header(cells, name)
            continue
        chunk.append(Fault(name, number, _UNCLOSED) if lines.ended else _row(name, number, header, cells))
        size += sum(map(len, cells))
        if len(chunk) >= ITEMS_AT_ONCE or size >= BYTES_AT_ONCE:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


class _Lines:
    """The lines of a table, which knows where a row ends that the reader gave up.

    Args:
        text: the table.
    """

    def __init__(self, text: Iterator[str]) -> None:
        self._text = text
        self._number = 0
        self._quotes = 0  # quotation marks of the row
        self.ended = False  # the reader asked for a line after the last one; where it returns a row, a quote is open

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._text, None)
        if line is None:
            self.ended = True
            raise StopIteration
        self._number += 1
        self._quotes += line.count('"')
        return line

    def begin_row(self) -> int:
        """The number of the line that comes next, counted from 1."""
        self._quotes = 0
        return self._number + 1

    def leave_quotes(self) -> None:
        """Read on to the end of a quoted cell in which the row was given up: its lines are no rows."""
        while self._quotes % 2 and next(self, None) is not None:
            pass


_UNCLOSED = (
    "a cell begins with a quotation mark that is not closed by the end of the file, so nothing after it was read; "
    "close it, or double the quotation marks in a cell"
)


def _broken(cause: csv.Error, is_unclosed: bool, max_bytes: int) -> str:
    if "field limit" not in str(cause):
        return f"not a row of a table: {cause}"
    return (
        _UNCLOSED if is_unclosed else f"a cell has more than {max_bytes:,} characters (prompt_bytes in the pool file)"
    )


def _row(name: str, number: int, header: list[str], cells: list[str]) -> Item:
    if len(cells) != len(header):
        return Fault(name, number, f"has {len(cells)} cells, but the first line names {len(header)} columns")
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return Fault(name, number, "not UTF-8; save the table as UTF-8")
    return Row(name, number, {column: cell or None for column, cell in zip(header, cells, strict=True)})


def _header(cells: list[str], name: str) -> list[str]:
    header = [cell.strip() or f"column_{place}" for place, cell in enumerate(cells)]
    if len(set(header)) != len(header):
        twice = [column for place, column in enumerate(header) if column in header[:place]]
        raise SettingsError(f"{name}: the first line names a column twice: {names(twice)}")
    return header
