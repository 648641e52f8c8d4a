"""Sources of prompts: a JSON Lines file, or standard input as it arrives."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from karma.errors import SettingsError
from karma_gateway.ingest import Line

#: Lines accepted in one transaction.
LINES_AT_ONCE = 500
#: Seconds that a line may wait for others before it is accepted.
LINGER_S = 0.1
_READ_BYTES = 1 << 16


def read_lines(source: str, max_bytes: int) -> Iterator[list[Line]]:
    """The non-empty lines of a file, or of standard input for `-`, in chunks to be accepted together.

    A line waits at most `LINGER_S` for more lines. A line longer than `max_bytes` is cut after `max_bytes` + 1 bytes:
    ingest refuses it, and memory stays bounded.

    Raises:
        SettingsError: the file cannot be read.
    """
    if source == "-":
        yield from _stream(sys.stdin.buffer, "<stdin>", max_bytes)
        return
    try:
        with Path(source).open("rb") as file:
            yield from _stream(file, source, max_bytes)
    except OSError as cause:
        raise SettingsError(f"{source}: cannot be read: {cause.strerror}") from cause


def _stream(file: BinaryIO, name: str, max_bytes: int) -> Iterator[list[Line]]:
    lines: list[Line] = []
    number = 1
    pending = bytearray()
    oldest = 0.0
    descriptor = file.fileno()
    while True:
        wait = None if not lines else max(0.0, oldest + LINGER_S - time.monotonic())
        if not select.select([descriptor], [], [], wait)[0]:
            yield lines
            lines = []
            continue
        data = os.read(descriptor, _READ_BYTES)
        *whole, rest = data.split(b"\n") if data else (b"", b"")
        for part in whole:
            _extend(pending, part, max_bytes)
            if pending.strip():
                oldest = oldest if lines else time.monotonic()
                content = pending.strip(b"\r\n\t ") if len(pending) <= max_bytes else pending
                lines.append(Line(name, number, bytes(content)))
            pending.clear()
            number += 1
            if len(lines) >= LINES_AT_ONCE:
                yield lines
                lines = []
        _extend(pending, rest, max_bytes)
        if not data:
            if lines:
                yield lines
            return


def _extend(pending: bytearray, part: bytes, max_bytes: int) -> None:
    pending += part[: max_bytes + 1 - len(pending)] if len(pending) <= max_bytes else b""
