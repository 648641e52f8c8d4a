"""Rows of Parquet and Arrow files, read in small batches with pyarrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from karma.errors import SettingsError
from karma_gateway.sources.byte_streams import require_pyarrow
from karma_gateway.sources.items import BYTES_AT_ONCE, ITEMS_AT_ONCE, Fault, Item, Row


def parquet_chunks(path: str, name: str) -> Iterator[list[Item]]:
    """The rows of a Parquet file. A row group that cannot be read is one fault, and the next one goes on.

    Raises:
        SettingsError: the file has no readable footer, as one that was cut.
    """
    pyarrow = require_pyarrow("Parquet")
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 16)
    except (OSError, pyarrow.ArrowException) as cause:
        raise SettingsError(
            f"{name}: is no whole Parquet file: {first_line(cause)}; fetch or write it again"
        ) from cause
    with file:
        first = 1
        for group in range(file.num_row_groups):
            facts = file.metadata.row_group(group)
            batches = file.iter_batches(_batch_size(facts.total_byte_size, facts.num_rows), row_groups=[group])
            yield from _group(batches, name, first, facts.num_rows)
            first += facts.num_rows


def _group(batches: Iterator[Any], name: str, first: int, count: int) -> Iterator[list[Item]]:
    import pyarrow

    done = 0
    try:
        for batch in batches:
            yield rows_of(batch, name, first + done)
            done += batch.num_rows
    except (OSError, pyarrow.ArrowException) as cause:
        reason = f"rows {first + done:,} to {first + count - 1:,} cannot be read: {first_line(cause)}"
        yield [Fault(name, first + done, reason)]


def arrow_chunks(path: str, name: str, is_stream: bool) -> Iterator[list[Item]]:
    """The rows of an Arrow file, or of a stream as `datasets` writes them.

    Raises:
        SettingsError: it cannot be opened.
    """
    pyarrow = require_pyarrow("Arrow")
    from pyarrow import ipc

    first = 1
    try:
        with pyarrow.memory_map(path) as mapped:
            batches = _stream(ipc.open_stream(mapped)) if is_stream else _file(ipc.open_file(mapped))
            for batch in batches:
                for part in _parts(batch):
                    yield rows_of(part, name, first)
                    first += part.num_rows
    except (OSError, pyarrow.ArrowException) as cause:
        if first == 1:
            raise SettingsError(f"{name}: is no whole Arrow file: {first_line(cause)}") from cause
        yield [Fault(name, first, f"rows from {first:,} on cannot be read: {first_line(cause)}")]


def rows_of(batch: Any, name: str, first: int) -> list[Item]:
    """The rows of a batch. Values that JSON lacks become texts, missing numbers (NaN) null.

    A cell that cannot be read is a fault of its row.
    """
    columns = batch.schema.names
    try:
        values = [_values(column) for column in batch.columns]
    except (UnicodeDecodeError, ValueError, OverflowError) as cause:
        if batch.num_rows == 1:
            return [Fault(name, first, f"cannot be read: {cause}")]
        return [item for place in range(batch.num_rows) for item in rows_of(batch.slice(place, 1), name, first + place)]
    if len(columns) == 1:
        return [Row(name, first + place, {columns[0]: value}) for place, value in enumerate(values[0])]
    return [
        Row(name, first + place, dict(zip(columns, row, strict=True)))
        for place, row in enumerate(zip(*values, strict=True))
    ]


def _values(column: Any) -> list[Any]:
    import pyarrow
    from pyarrow import compute, types

    kind = column.type
    if types.is_floating(kind):
        if kind != pyarrow.float64():
            column = column.cast(pyarrow.float64())
        column = compute.if_else(compute.is_nan(column), None, column)
    elif types.is_dictionary(kind):
        return _values(column.dictionary_decode())
    elif types.is_temporal(kind) or types.is_decimal(kind):
        column = column.cast(pyarrow.string())
    values: list[Any] = column.to_pylist()
    return values


def _parts(batch: Any) -> Iterator[Any]:
    """A batch in slices that are small enough."""
    size = _batch_size(batch.nbytes, batch.num_rows)
    for start in range(0, batch.num_rows, size):
        yield batch.slice(start, size)


def _batch_size(size_bytes: int, rows: int) -> int:
    return max(1, min(ITEMS_AT_ONCE, BYTES_AT_ONCE * rows // max(1, size_bytes)))


def _stream(reader: Any) -> Iterator[Any]:
    yield from reader


def _file(reader: Any) -> Iterator[Any]:
    for place in range(reader.num_record_batches):
        yield reader.get_batch(place)


def first_line(cause: BaseException) -> str:
    """The first line of an error's text, or its kind."""
    return (str(cause).splitlines() or [type(cause).__name__])[0]


def count_rows(paths: Sequence[str]) -> int | None:
    """The rows of Parquet files by their footers; None if one is no such file."""
    try:
        import pyarrow
        from pyarrow import parquet

        return sum(int(parquet.read_metadata(path).num_rows) for path in paths)
    except (ImportError, OSError, pyarrow.ArrowException):
        return None
