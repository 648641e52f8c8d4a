"""Exports: the preferences of the store as rows of an exporter's format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from karma.config.derived_streams import derivation
from karma.config.settings import Price
from karma.store import Store
from karma.store.counting import preferences, resolutions_by_outcome
from karma.store.export_filter import ExportFilter
from karma.store.streams import stream_names
from karma.verdicts import TIE_MARGIN
from karma_gateway.exports import files
from karma_gateway.exports.columns import Columns, Row
from karma_gateway.exports.reader import EVERYTHING, Reader

#: Most streams that are looked through for the nearest name.
_NAMED_STREAMS = 1000


class Rows(Iterator[Row]):
    """The rows of an export, and what is known of them; the counts are of the rows so far."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.columns = reader.columns  # their types; None if the exporter declares none
        self.predicted = 0  # preferences whose label is predicted
        self.preferences = 0
        self._rows = self._all()

    def __next__(self) -> Row:
        """The next row."""
        return next(self._rows)

    def _all(self) -> Iterator[Row]:
        for exported in self.reader.read():
            self.preferences += 1
            self.predicted += exported.is_predicted
            yield from exported.rows


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
    return Rows(Reader(store, exporter, kept, bare, prices, tie_margin))


def expected(store: Store, kept: ExportFilter = EVERYTHING) -> int | None:
    """The number of preferences that an export would contain now; None if counting would require reading them all."""
    if kept.is_narrow:
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
    mixed: bool = False,
) -> int:
    """Write rows to a file (`files.write`); by default, `columns` and `mixed` are what `rows` gives.

    Raises:
        KarmaError: as `files.write` does.
    """
    if isinstance(exported, Rows):
        columns, mixed = columns or exported.columns, mixed or exported.reader.mixed
    return files.write(exported, out, columns, remark, mixed)
