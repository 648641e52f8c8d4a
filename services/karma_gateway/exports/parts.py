"""Parquet files of one table: all of them get the columns that any of them has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from karma.config.atomic_file import whole_file
from karma_gateway.exports.files import ROWS_AT_ONCE


def unify(paths: Sequence[Path]) -> None:
    """Rewrite the files that lack a field of others, such as what tools need; their rows have null there.

    Raises:
        KarmaError: a file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not paths:
        return
    schemas = [pq.read_schema(path) for path in paths]
    if all(schema.equals(schemas[0]) for schema in schemas):
        return
    whole = schemas[0]
    for schema in schemas[1:]:
        whole = pa.schema(_fields_of_both(whole, schema))
    for path, schema in zip(paths, schemas, strict=True):
        if schema.equals(whole):
            continue
        with whole_file(path) as unfinished, pq.ParquetWriter(unfinished, whole) as writer:
            for batch in pq.ParquetFile(path).iter_batches(ROWS_AT_ONCE):
                writer.write_table(pa.Table.from_pylist(batch.to_pylist(), schema=whole))


def _fields_of_both(first: Any, second: Any) -> list[Any]:
    """The fields of two schemas or structs, in the order of the first."""
    import pyarrow as pa

    others = {field.name: field for field in second}
    both = [
        pa.field(field.name, _both(field.type, others.pop(field.name).type)) if field.name in others else field
        for field in first
    ]
    return both + list(others.values())


def _both(first: Any, second: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_struct(first) and pa.types.is_struct(second):
        return pa.struct(_fields_of_both(first, second))
    if pa.types.is_list(first) and pa.types.is_list(second):
        return pa.list_(_both(first.value_type, second.value_type))
    return second if pa.types.is_null(first) else first
