"""The format of a file, by its first bytes: a name may lie."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, TypeAlias

from karma.errors import SettingsError

Format: TypeAlias = Literal["gzip", "bzip2", "xz", "zstd", "parquet", "arrow", "arrow stream", "csv", "json"]

COMPRESSIONS = ("gzip", "bzip2", "xz", "zstd")

_BOM = b"\xef\xbb\xbf"

_MAGIC: Sequence[tuple[bytes, Format]] = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PAR1", "parquet"),
    (b"ARROW1", "arrow"),
    (b"\xff\xff\xff\xff", "arrow stream"),
)

#: Beginnings of files that cannot be read: the beginning, what such a file is, and what to do.
_REFUSED: Sequence[tuple[bytes, str, str]] = (
    (b"PK\x03\x04", "a zip archive or a spreadsheet", "unpack it, or save the table as CSV"),
    (b"\xff\xfe", "UTF-16", "save it as UTF-8"),
    (b"\xfe\xff", "UTF-16", "save it as UTF-8"),
    (b"version https://git-lfs", "a pointer of Git LFS", "fetch the file itself: git lfs pull"),
    (b"<", "HTML or XML", "download the file itself, not its page"),
)

_SEPARATOR = re.compile(rb"[,;\t]")


def format_of(head: bytes, name: str) -> Format:
    """The format of a file that begins like this.

    Raises:
        SettingsError: it is none that can be read; says what it looks like and what to do.
    """
    for magic, found in _MAGIC:
        if head.startswith(magic):
            return found
    for magic, kind, remedy in _REFUSED:
        if head.startswith(magic):
            raise SettingsError(f"{name}: looks like {kind}; {remedy}")
    return "csv" if separator_of(head, name) else "json"


def refuse_unless_json(head: bytes, name: str) -> None:
    """Accept JSON only.

    Raises:
        SettingsError: the file is something else; says what it looks like and what to do.
    """
    found = format_of(head, name)
    if found != "json":
        raise SettingsError(f"{name}: looks like {found.upper() if found == 'csv' else found}; JSON Lines are expected")


def separator_of(head: bytes, name: str) -> str | None:
    """The separator of a table of values that begins like this; None if it is no such table."""
    first, *others = [line for line in re.split(rb"[\r\n]+", head.removeprefix(_BOM)) if line.strip()][:2] or [b""]
    stem = name.lower().removesuffix(".gz").removesuffix(".zst").removesuffix(".bz2").removesuffix(".xz")
    named = stem.endswith((".csv", ".tsv")) and not first.lstrip().startswith((b"{", b"["))
    if not named and (not others or any(line.lstrip().startswith((b"{", b"[")) for line in (first, *others))):
        return None
    found = _SEPARATOR.search(first)
    if named:
        return "\t" if b"\t" in first else found[0].decode() if found else ","
    # A comma in a line of text is no separator: a table has as many in the next line.
    if found and first.count(found[0]) == others[0].count(found[0]):
        return found[0].decode()
    return None
