"""Files of prompts by name, glob or folder, and standard input; each is read by its format."""

from __future__ import annotations

import glob
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from karma.errors import SettingsError
from karma_gateway.sources.arrow_rows import arrow_chunks, parquet_chunks
from karma_gateway.sources.byte_streams import DAMAGED, BytesFile, ByteStream, DescriptorBytes, UnpackedBytes
from karma_gateway.sources.csv_rows import csv_chunks
from karma_gateway.sources.file_formats import COMPRESSIONS, format_of, separator_of
from karma_gateway.sources.items import Fault, Item
from karma_gateway.sources.json_lines import chunks_of

STDIN = "-"

#: Endings of the files that a folder is read for, and those of compressed ones.
_ENDINGS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow")
_PACKED = (".gz", ".bz2", ".xz", ".zst")
#: JSON files that lie beside data and hold none.
_ABOUT_DATA = ("dataset_info.json", "dataset_infos.json", "state.json", "dataset_dict.json", "package.json")

_COPY_BYTES = 1 << 20


def files_of(source: str) -> list[str]:
    """The files that a name means: itself, those of a folder with all in it, or those that a pattern matches.

    Raises:
        SettingsError: there is none.
    """
    path = Path(source)
    if source == STDIN or path.is_file():
        return [source]
    if path.is_dir():
        found = sorted(str(file) for file in path.rglob("*") if file.is_file() and _holds_data(file.relative_to(path)))
        if not found:
            raise SettingsError(
                f"{source}: no file in this folder ends with {', '.join(_ENDINGS)}, or these with .gz or .zst"
            )
        return found
    if path.exists():  # a named pipe
        return [source]
    if found := sorted(name for name in glob.glob(source, recursive=True) if Path(name).is_file()):
        return found
    if glob.has_magic(source):
        raise SettingsError(f"{source}: no file matches this pattern")
    raise SettingsError(f"{source}: cannot be read: No such file or directory")


def _holds_data(path: Path) -> bool:
    name = path.name.lower()
    for ending in _PACKED:
        name = name.removesuffix(ending)
    hidden = any(part.startswith((".", "_")) for part in path.parts)
    return name.endswith(_ENDINGS) and name not in _ABOUT_DATA and not hidden


def read_files(files: Sequence[str], max_bytes: int) -> Iterator[Sequence[Item]]:
    """The items of files, one after another, in chunks to be taken together.

    Where there are several, one that cannot be read is one fault, and the others go on.

    Raises:
        SettingsError: the only file cannot be read, or is of no known format.
    """
    for name in files:
        try:
            yield from read_file(name, max_bytes)
        except SettingsError as cause:
            if len(files) == 1:
                raise
            yield [Fault(name, 0, str(cause).removeprefix(f"{name}: "))]


def read_file(name: str, max_bytes: int) -> Iterator[Sequence[Item]]:
    """The items of a file, or of standard input for `-`.

    Raises:
        SettingsError: it cannot be read, or is of no known format.
    """
    shown = "<stdin>" if name == STDIN else name
    try:
        if name == STDIN:
            yield from _read(DescriptorBytes(sys.stdin.buffer), None, shown, max_bytes)
        else:
            with Path(name).open("rb") as file:
                yield from _read(DescriptorBytes(file), name if Path(name).is_file() else None, shown, max_bytes)
    except OSError as cause:
        raise SettingsError(f"{shown}: cannot be read: {cause.strerror or cause}") from cause


def _read(stream: ByteStream, path: str | None, name: str, max_bytes: int) -> Iterator[Sequence[Item]]:
    found = format_of(stream.peek(), name)
    if found in COMPRESSIONS:
        try:
            unpacked = UnpackedBytes(stream, found, name)
            if format_of(unpacked.peek(), name) in COMPRESSIONS:
                raise SettingsError(f"{name}: is compressed twice; unpack it first")
            yield from _read(unpacked, None, name, max_bytes)
        except (*DAMAGED, OSError) as cause:
            yield [Fault(name, 0, f"is damaged or cut, and ends here: {cause}")]
    elif found == "json":
        yield from chunks_of(stream, name, max_bytes)
    elif found == "csv":
        yield from csv_chunks(stream, name, separator_of(stream.peek(), name) or ",", max_bytes)
    else:
        with _on_disk(stream, path) as whole:
            if found == "parquet":
                yield from parquet_chunks(whole, name)
            else:
                yield from arrow_chunks(whole, name, is_stream=found == "arrow stream")


@contextmanager
def _on_disk(stream: ByteStream, path: str | None) -> Iterator[str]:
    """The path of the file; of a stream that cannot be read from its end, a temporary copy."""
    if path is not None:
        yield path
        return
    with tempfile.NamedTemporaryFile(prefix="karma-") as copy:
        _copy(stream, copy)
        yield copy.name


def _copy(stream: ByteStream, copy: IO[bytes]) -> None:
    packed = BytesFile(stream)
    while data := packed.read(_COPY_BYTES):
        copy.write(data)
    copy.flush()
