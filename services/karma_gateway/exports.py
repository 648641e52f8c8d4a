"""Exports: the preferences of the store as rows of an exporter's format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

from karma import plugins
from karma.config.derived_streams import derivation
from karma.config.settings import Price
from karma.plugins.protocols import Exporter
from karma.store import Store
from karma.store.counting import preferences, resolutions_by_outcome
from karma.store.export_filter import ExportFilter
from karma.store.pair_rows import verdict_rows
from karma.store.streams import stream_names
from karma.verdicts import TIE_MARGIN
from karma_gateway import export_files
from karma_gateway.columns import Columns
from karma_gateway.export_files import ROWS_AT_ONCE, Row

EVERYTHING = ExportFilter()

#: Most streams that are looked through for the nearest name.
_NAMED_STREAMS = 1000


class Rows(Iterator[Row]):
    """The rows of an export, and the types of their columns; None if the exporter declares none."""

    def __init__(self, rows: Iterator[tuple[Row, bool]], columns: Columns | None) -> None:
        self._rows = rows
        self.columns = columns
        self.predicted = 0  # of the rows so far: those whose label is predicted

    def __next__(self) -> Row:
        """The next row."""
        row, is_predicted = next(self._rows)
        self.predicted += is_predicted
        return row


def rows(
    store: Store,
    exporter: str,
    kept: ExportFilter = EVERYTHING,
    bare: bool = False,
    prices: Mapping[str, Price] = MappingProxyType({}),
    tie_margin: Callable[[str], float] = lambda _stream: TIE_MARGIN,
) -> Rows:
    """The preferences that the filter keeps, in the order of their pairs' ids, read in short transactions.

    Raises:
        SettingsError: no exporter has the name.
    """
    make: Exporter = plugins.find("exporters", exporter)
    declared: Columns | None = getattr(make, "columns", None)
    if declared is not None and bare:
        declared = {name: type_ for name, type_ in declared.items() if name != "karma"}
    return Rows(_rows(store, make, kept, bare, prices, tie_margin), declared)


def _rows(
    store: Store,
    make: Exporter,
    kept: ExportFilter,
    bare: bool,
    prices: Mapping[str, Price],
    tie_margin: Callable[[str], float],
) -> Iterator[tuple[Row, bool]]:
    """The rows, and whether their labels are predicted."""
    after = 0
    while True:
        with store.reading() as transaction:
            chunk = transaction.preferences.export_rows(after, ROWS_AT_ONCE, kept)
            verdicts = {} if bare else verdict_rows(transaction.ledger.connection, [row.id for row in chunk])
        for row in chunk:
            more = {"verdicts": verdicts.get(row.id, []), "prices": prices, "tie_margin": tie_margin(row.stream)}
            yield make(SimpleNamespace(**row._mapping, **more), bare), row.label_source == "predicted"
        if len(chunk) < ROWS_AT_ONCE:
            return
        after = chunk[-1].id


def expected(store: Store, kept: ExportFilter = EVERYTHING) -> int | None:
    """The number of preferences that an export would contain now; None if counting would require reading them all."""
    if kept.stream is not None or kept.finished or kept.max_length_ratio is not None:
        return None
    if kept.least_probability > EVERYTHING.least_probability:
        return None
    with store.reading() as transaction:
        connection = transaction.ledger.connection
        if any(map(derivation, stream_names(connection, _NAMED_STREAMS))):
            return None
        counts = preferences(resolutions_by_outcome(connection))
    if kept.least_predicted > EVERYTHING.least_predicted and counts["predicted"] and kept.label_source != "judge":
        return None
    return sum(counts.values()) if kept.label_source is None else counts[kept.label_source]


def write(
    exported: Iterable[Row],
    out: Path,
    columns: Columns | None = None,
    remark: Callable[[str], None] = lambda _text: None,
) -> int:
    """Write rows to a file (`export_files.write`); `columns` are by default those that `rows` gives.

    Raises:
        KarmaError: as `export_files.write` does.
    """
    return export_files.write(exported, out, columns or getattr(exported, "columns", None), remark)
