"""Exports: writes preferences from the store to files for trainers, in an exporter's format."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

from karma import plugins
from karma.config.settings import Price
from karma.errors import MissingExtraError, SettingsError
from karma.plugins.protocols import Exporter
from karma.store import Store
from karma.store.atomic_file import whole_file
from karma.store.counting import preferences, resolutions_by_outcome
from karma.store.pair_rows import verdict_rows
from karma.store.records import ExportFilter
from karma.verdicts import TIE_MARGIN

Row = dict[str, Any]

EVERYTHING = ExportFilter()

#: Preferences that are read in one transaction and written together.
ROWS_AT_ONCE = 500


def rows(
    store: Store,
    exporter: str,
    kept: ExportFilter = EVERYTHING,
    bare: bool = False,
    prices: Mapping[str, Price] = MappingProxyType({}),
    tie_margin: Callable[[str], float] = lambda _stream: TIE_MARGIN,
) -> Iterator[Row]:
    """The preferences that the filter keeps, in the order of their pairs' ids, read in short transactions.

    Raises:
        SettingsError: no exporter has the name.
    """
    make: Exporter = plugins.find("exporters", exporter)
    after = 0
    while True:
        with store.reading() as transaction:
            chunk = transaction.preferences.export_rows(after, ROWS_AT_ONCE, kept)
            verdicts = {} if bare else verdict_rows(transaction.ledger.connection, [row.id for row in chunk])
        for row in chunk:
            more = {"verdicts": verdicts.get(row.id, []), "prices": prices, "tie_margin": tie_margin(row.stream)}
            yield make(SimpleNamespace(**row._mapping, **more), bare)
        if len(chunk) < ROWS_AT_ONCE:
            return
        after = chunk[-1].id


def expected(store: Store, kept: ExportFilter = EVERYTHING) -> int | None:
    """The number of preferences that an export would contain now; None if counting would require reading them all."""
    if kept.stream is not None or kept.least_probability > EVERYTHING.least_probability:
        return None
    with store.reading() as transaction:
        counts = preferences(resolutions_by_outcome(transaction.ledger.connection))
    return sum(counts.values()) if kept.label_source is None else counts[kept.label_source]


def write(exported: Iterable[Row], out: Path) -> int:
    """Write rows as JSON Lines or Parquet, by the file's extension; the file appears when it is complete.

    Returns:
        The number of rows.

    Raises:
        SettingsError: the file has another extension.
        KarmaError: the file cannot be written.
    """
    writers = {".jsonl": _write_jsonl, ".parquet": _write_parquet}
    if out.suffix not in writers:
        raise SettingsError(
            f"{out}: the name must end with .jsonl or .parquet, it ends with {out.suffix or 'nothing'!r}"
        )
    with whole_file(out) as unfinished:
        return writers[out.suffix](exported, unfinished)


def _write_jsonl(exported: Iterable[Row], path: Path) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for row in exported:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def _write_parquet(exported: Iterable[Row], path: Path) -> int:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as cause:
        raise MissingExtraError("pyarrow", "parquet", "Parquet") from cause
    count, rows_left = 0, iter(exported)
    chunk = list(islice(rows_left, ROWS_AT_ONCE))
    schema = _parquet_schema(chunk[0]) if chunk else pa.schema([])
    with pq.ParquetWriter(path, schema) as writer:
        while chunk:
            writer.write_table(pa.Table.from_pylist(chunk, schema=schema))
            count += len(chunk)
            chunk = list(islice(rows_left, ROWS_AT_ONCE))
    return count


def _parquet_schema(first: Row) -> Any:
    """A schema that does not depend on missing values in the first row."""
    import pyarrow as pa

    text, number, whole = pa.string(), pa.float64(), pa.int64()
    own = {
        **dict.fromkeys(
            ("stream", "prompt_id", "skill", "chosen_model", "rejected_model", "label_source", "policy"), text
        ),
        **dict.fromkeys(
            ("pair", "chosen_response", "rejected_response", "snapshot", "tokens", "judges_valid", "judges_asked"),
            whole,
        ),
        **dict.fromkeys(("flipped", "agrees_with_competency"), pa.bool_()),
    }
    provenance_type = pa.struct([(name, own.get(name, number)) for name in first.get("karma", {})])
    inferred = pa.Table.from_pylist([first]).schema
    return pa.schema([pa.field(f.name, provenance_type if f.name == "karma" else f.type) for f in inferred])
