"""Rows of preference files, one at a time: a JSON Lines or Parquet file, or a folder as `datasets` reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from karma.errors import KarmaError, MissingExtraError, SettingsError
from karma_validation.problems import Place

_ENDINGS = (".jsonl", ".json", ".parquet")
_ROWS_AT_ONCE = 200


@dataclass(frozen=True)
class File:
    """A file of a data set."""

    path: Path
    name: str  # as problems name it
    split: str
    configuration: str = ""


@dataclass(frozen=True)
class Read:
    """A row, or what is wrong with it."""

    place: Place
    value: Mapping[str, Any] | None
    wrong: str = ""
    offset: int | None = None  # bytes before it in a JSON Lines file


def find_files(path: Path) -> list[File]:
    """The files of a data set: those that the dataset card of a folder lists, or else all in it.

    Raises:
        SettingsError: there are none.
    """
    if path.is_file():
        if path.suffix not in _ENDINGS:
            raise SettingsError(f"{path}: expected a file that ends with .jsonl, .json or .parquet, or a folder")
        return [File(path, str(path), "")]
    if not path.is_dir():
        raise SettingsError(f"{path}: there is no such file or folder")
    shown = [one for one in sorted(path.rglob("*")) if one.is_file() and one.suffix in _ENDINGS]
    shown = [one for one in shown if not any(part.startswith(".") for part in one.relative_to(path).parts)]
    listed = list(_listed(path, shown))
    found = listed or [
        File(one, str(one), one.stem.partition("-")[0]) for one in shown if one.name != "dataset_info.json"
    ]
    if not found:
        raise SettingsError(f"{path}: holds no file that ends with .jsonl, .json or .parquet")
    return found


def read(file: File) -> Iterator[Read]:
    """The rows of a file, in its order; one is in memory at a time, or a few hundred of Parquet.

    Raises:
        KarmaError: the file cannot be read.
        MissingExtraError: Parquet needs a package that is not installed.
    """
    try:
        yield from _parquet(file) if file.path.suffix == ".parquet" else _lines(file)
    except OSError as cause:
        raise KarmaError(f"{file.path}: cannot be read: {cause.strerror or cause}") from cause


def _lines(file: File) -> Iterator[Read]:
    offset = 0
    with file.path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            place = Place(file.name, number)
            if line.strip():
                try:
                    value = json.loads(line)
                except (ValueError, RecursionError) as cause:
                    yield Read(place, None, f"not JSON: {cause}", offset)
                else:
                    is_row = isinstance(value, dict)
                    found = "" if is_row else f"expected an object, found {type(value).__name__}"
                    yield Read(place, value if is_row else None, found, offset)
            offset += len(line)


def _parquet(file: File) -> Iterator[Read]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as cause:
        raise MissingExtraError("pyarrow", "parquet", "Parquet") from cause
    number = 0
    try:
        for batch in pq.ParquetFile(file.path).iter_batches(_ROWS_AT_ONCE):
            for value in batch.to_pylist():
                number += 1
                yield Read(Place(file.name, number), value)
    except pa.ArrowException as cause:
        raise KarmaError(f"{file.path}: is no Parquet file that can be read: {cause}") from cause


def _listed(folder: Path, shown: list[Path]) -> Iterator[File]:
    """The files that the configurations of the dataset card name, in the form that exports and the hub write."""
    try:
        head = (folder / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    match = re.match(r"---\n(.*?)\n---", head, re.DOTALL)
    configuration = split = ""
    for line in match[1].splitlines() if match else ():
        key, _, text = line.strip().removeprefix("- ").partition(":")
        text = text.strip().strip("'\"")
        if key == "config_name":
            configuration = text
        elif key == "split":
            split = text
        elif key == "path" and text:
            for path in shown:
                if fnmatch(str(path.relative_to(folder)), text):
                    yield File(path, str(path), split, configuration)
