"""A file that grows: its lines as they are finished, through rotation and truncation."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from karma.errors import SettingsError
from karma_gateway.sources.file_formats import refuse_unless_json
from karma_gateway.sources.items import BYTES_AT_ONCE, ITEMS_AT_ONCE, Fault, Item, Line
from karma_gateway.sources.splitting import Splitter

_READ_BYTES = 1 << 20


def follow(path: str, max_bytes: int, poll_s: float = 0.2) -> Iterator[list[Item]]:
    """The JSON lines of a file, and then those that are written to it, without end; an empty list where none came.

    A line is taken once it ends with a line break. A file that was replaced (rotated) is read to its end, with its last
    line, and the new one from its beginning; so is a file that was cut. A file that is not there yet is waited for.

    Between two looks at the file it waits for `poll_s`.

    Raises:
        SettingsError: it is no JSON, or cannot be read.
    """
    while True:
        try:
            with Path(path).open("rb") as file:
                yield from _file(file, path, max_bytes, poll_s)
        except FileNotFoundError:
            yield []
            time.sleep(poll_s)
        except OSError as cause:
            raise SettingsError(f"{path}: cannot be read: {cause.strerror or cause}") from cause


def _file(file: BinaryIO, path: str, max_bytes: int, poll_s: float) -> Iterator[list[Item]]:
    """The lines of one file until it is replaced."""
    splitter, is_json = Splitter(max_bytes), False
    lines: list[Item] = []
    size = 0
    while True:
        data = os.read(file.fileno(), _READ_BYTES)
        if data:
            if not is_json:
                refuse_unless_json(data, path)
                is_json = True
            for number, content in splitter.feed(data):
                lines.append(Line(path, number, content))
                size += len(content)
                if len(lines) >= ITEMS_AT_ONCE or size >= BYTES_AT_ONCE:
                    yield lines
                    lines, size = [], 0
            continue
        if _was_replaced(file, path):
            rest = os.read(file.fileno(), _READ_BYTES)  # what was written between the last read and the replacement
            while rest:
                lines += [Line(path, *each) for each in splitter.feed(rest)]
                rest = os.read(file.fileno(), _READ_BYTES)
            yield [*lines, *(Line(path, *each) for each in splitter.finish())]
            return
        if os.fstat(file.fileno()).st_size < os.lseek(file.fileno(), 0, os.SEEK_CUR):
            if splitter.is_within_line:
                lines.append(
                    Fault(path, 0, "was cut within a line, whose beginning is left out; it is read from its start")
                )
            os.lseek(file.fileno(), 0, os.SEEK_SET)
            splitter = Splitter(max_bytes)
            continue
        yield lines
        lines, size = [], 0
        time.sleep(poll_s)


def _was_replaced(file: BinaryIO, path: str) -> bool:
    """Whether the name means another file now; not while there is none."""
    try:
        return not os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False
