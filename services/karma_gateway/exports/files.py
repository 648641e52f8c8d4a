"""Files of exports: JSON Lines and Parquet, each with one type per column.

Rows are first written to a temporary file beside the export while their types are observed, because readers take the
types of JSON Lines from the first rows, and those of Parquet stand before them.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from karma.config.atomic_file import whole_file
from karma.errors import KarmaError, MissingExtraError, SettingsError
from karma.seeds import seed_of
from karma_gateway.exports.columns import Columns, Observed, Row, Type, hold
from karma_gateway.exports.regular import RegularRows

#: Rows that are read or written together.
ROWS_AT_ONCE = 500

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))

_PIECE = 1 << 20

#: `datasets` takes the types of JSON Lines from the rows that begin within the first 10 MiB.
_TYPED_BYTES = 10 << 20


def check_out(out: Path) -> None:
    """Check the name and the folder of a file before anything is exported to it.

    Raises:
        SettingsError: they are not as expected.
        MissingExtraError: Parquet needs a package that is not installed.
    """
    if out.is_dir():
        raise SettingsError(f"{out}: is a folder; name a file in it, for example {out / 'preferences.jsonl'}")
    if out.suffix not in (".jsonl", ".parquet"):
        raise SettingsError(
            f"{out}: the name of the file must end with .jsonl or .parquet, for example {out.with_suffix('.jsonl')}"
        )
    if not out.parent.is_dir():
        raise SettingsError(f"{out}: there is no folder {out.parent}; make it first, or name another file")
    if out.suffix == ".parquet":
        require_pyarrow()


def write(
    exported: Iterable[Row],
    out: Path,
    columns: Columns | None,
    remark: Callable[[str], None] = lambda _text: None,
    mixed: bool = False,
) -> int:
    """Write rows as JSON Lines or Parquet, by the file's extension; the file appears when it is complete.

    Args:
        exported: the rows.
        out: the file; one that exists is replaced, unless there is no row.
        columns: the declared types; None: inferred from all rows.
        remark: gets sentences about what readers make of the file.
        mixed: rows with the same `prompt` are no neighbors (`mixing`).

    Returns:
        The number of rows.

    Raises:
        SettingsError: the name, the folder or a row is not as expected.
        KarmaError: the file cannot be written, or an empty export would replace it.
    """
    check_out(out)
    with whole_file(out) as unfinished, TemporaryFile(dir=out.parent) as file:
        spool = Spool(file, mixed, columns)
        for row in exported:
            spool.add(row)
        if not spool.count and out.exists():
            raise KarmaError(f"{out}: kept as it is, as there is no preference to export")
        write_spool(spool, columns, unfinished, out.suffix)
    if out.suffix == ".jsonl" and (dates := spool.types.dates()):
        remark(
            f"every text in {', '.join(dates)} looks like a date: `datasets` reads such a column of JSON Lines as "
            "times. Export to Parquet to keep the texts."
        )
    return spool.count


def json_line(row: Row) -> str:
    """A row as JSON.

    Raises:
        SettingsError: JSON has no such value.
    """
    try:
        return _encoder.encode(row)
    except (TypeError, ValueError) as cause:
        raise SettingsError(f"the exporter returned a row that is no JSON: {cause}") from cause


def mixed_lines(rows: Iterable[Row]) -> Iterator[str]:
    """Rows as JSON, of which no two neighbors have the same `prompt`; all of them are read first."""
    with TemporaryFile() as file:
        spool = Spool(file, mixed=True)
        for row in rows:
            spool.add(row)
        for line in spool.in_order():
            yield line.decode().removesuffix("\n")


@dataclass
class Spool:
    """Rows in a temporary file as JSON, with the types that they have."""

    file: IO[bytes]
    mixed: bool = False  # rows with the same `prompt` are no neighbors in the order in which they are read
    columns: Columns | None = None  # that were declared
    types: Observed = field(default_factory=Observed)
    count: int = 0
    end: int = 0
    _widening: list[int] = field(default_factory=list)  # indices of rows that widen a type
    _begins: array[int] = field(default_factory=lambda: array("Q"))  # where each row begins
    _prompts: array[int] = field(default_factory=lambda: array("Q"))  # of each row, if mixed
    _regular: RegularRows | None = None  # of the rows so far; None: of none, or of other ones
    _irregular: int = 0  # rows since then that were not like those before them

    def add(self, row: Row) -> None:
        """Add a row.

        Raises:
            SettingsError: it is not of the declared types, or JSON has no such value.
        """
        line = self._regular.line(row) if self._regular is not None else None
        line = (self._irregular_line(row) if line is None else line) + b"\n"
        self.file.write(line)
        self._begins.append(self.end)
        if self.mixed:
            self._prompts.append(seed_of(json_line({"prompt": row.get("prompt")})))
        self.end += len(line)
        self.count += 1

    def _irregular_line(self, row: Row) -> bytes:
        held = row if self.columns is None else hold(row, self.columns)
        line = json_line(held).encode()
        if self.types.add(held):
            self._widening.append(self.count)
            self._regular = None
        self._irregular += 1
        # A type is made in the time of some rows: it has to be worth it where no row is like the others.
        if self.columns is not None and self._regular is None and self._irregular > 2 * len(self._widening):
            self._regular = RegularRows(self.types, self.columns)
        return line

    def in_order(self) -> Iterator[bytes]:
        """The rows as lines, in the order of the export."""
        return self.lines(self._order())

    def typed_order(self) -> Iterable[int]:
        """The indices of the rows in that order, but those that widen a type come first, if not all of them are near
        the beginning."""
        order, widening = self._order(), set(self._widening)
        written = 0
        for index in order:
            widening.discard(index)
            if not widening or written >= _TYPED_BYTES:
                break
            written += (self._begins[index + 1] if index + 1 < self.count else self.end) - self._begins[index]
        if not widening:
            return order
        first = set(self._widening)
        return chain(self._widening, (index for index in order if index not in first))

    def whole(self) -> Iterator[bytes]:
        """All rows in the order in which they were added, in pieces of any size."""
        self.file.seek(0)
        return iter(lambda: self.file.read(_PIECE), b"")

    def _order(self) -> Sequence[int]:
        if not self.mixed:
            return range(self.count)
        from karma_gateway.exports.mixing import mixed_order  # numpy

        return mixed_order(self._prompts)

    def lines(self, order: Iterable[int]) -> Iterator[bytes]:
        """The rows with these indices as lines."""
        at = None
        for index in order:
            if at != index:
                self.file.seek(self._begins[index])
            yield self.file.readline()
            at = index + 1


def write_spool(spool: Spool, columns: Columns | None, path: Path, suffix: str) -> None:
    """Write the rows of a spool as JSON Lines or Parquet.

    Raises:
        SettingsError: a value does not fit the type of its column.
    """
    (_write_parquet if suffix == ".parquet" else _write_jsonl)(spool, columns, path)


def _write_jsonl(spool: Spool, columns: Columns | None, path: Path) -> None:
    order = spool.typed_order()
    lines = spool.lines(order)
    if columns is not None and spool.types.is_uneven():
        # Objects with different keys make `datasets` read them as texts and round every number of the file.
        types = spool.types.declared(columns)
        lines = (f"{json_line(hold(json.loads(line), types))}\n".encode() for line in lines)
    elif isinstance(order, range):
        lines = spool.whole()
    with path.open("wb") as file:
        file.writelines(lines)


def _write_parquet(spool: Spool, columns: Columns | None, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = spool.types.inferred() if columns is None else spool.types.declared(columns)
    schema = pa.schema(_arrow(types) if types != "null" else [])
    rows = map(json.loads, spool.in_order())
    with pq.ParquetWriter(path, schema) as writer:  # without rows: no row group, which readers of a folder need
        while chunk := list(islice(rows, ROWS_AT_ONCE)):
            try:
                writer.write_table(pa.Table.from_pylist(chunk, schema=schema))
            except (pa.ArrowException, OverflowError) as cause:  # a number that its type cannot have exactly
                raise SettingsError(
                    f"a value does not fit the type of its column: {cause}; write JSON Lines"
                ) from cause


def require_pyarrow() -> None:
    """Check that Parquet can be written.

    Raises:
        MissingExtraError: its package is not installed.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError as cause:
        raise MissingExtraError("pyarrow", "parquet", "Parquet") from cause


def _arrow(type_: Type) -> Any:
    """The Arrow type; that of an object is its struct."""
    import pyarrow as pa

    if isinstance(type_, Mapping):
        return pa.struct([(name, _arrow(part)) for name, part in type_.items()])
    if isinstance(type_, list):
        return pa.list_(_arrow(type_[0]))
    return {"bool": pa.bool_(), "null": pa.null()}.get(type_) or getattr(pa, type_)()
