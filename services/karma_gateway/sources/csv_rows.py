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
    text = io.TextIOWrapper(
        io.BufferedReader(BytesFile(stream)), encoding="utf-8-sig", errors="surrogateescape", newline=""
    )
    reader = csv.reader(text, delimiter=separator)
    header: list[str] | None = None
    chunk: list[Item] = []
    size = 0
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as cause:
            chunk.append(Fault(name, number, f"not a row of a table: {cause}"))
            continue
        if not cells:
            continue
        if header is None:
            header = _header(cells, name)
            continue
        chunk.append(_row(name, number, header, cells))
        size += sum(map(len, cells))
        if len(chunk) >= ITEMS_AT_ONCE or size >= BYTES_AT_ONCE:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _row(name: str, number: int, header: list[str], cells: list[str]) -> Item:
    if len(cells) != len(header):
        return Fault(name, number, f"has {len(cells)} cells, but the first line names {len(header)} columns")
    return Row(name, number, {column: cell or None for column, cell in zip(header, cells, strict=True)})


def _header(cells: list[str], name: str) -> list[str]:
    header = [cell.strip() or f"column_{place}" for place, cell in enumerate(cells)]
    if len(set(header)) != len(header):
        twice = [column for place, column in enumerate(header) if column in header[:place]]
        raise SettingsError(f"{name}: the first line names a column twice: {names(twice)}")
    return header
