"""Sources of prompts: a file, or standard input as it arrives."""

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
from karma_gateway.splitting import Splitter, not_json

#: Lines accepted in one transaction.
LINES_AT_ONCE = 500
#: Seconds that a line may wait for others before it is accepted.
LINGER_S = 0.1
_READ_BYTES = 1 << 16


def read_lines(source: str, max_bytes: int) -> Iterator[list[Line]]:
    """The prompts of a file, or of standard input for `-`, in chunks to be accepted together.

    A prompt is a line, or an element of a JSON array, or a pretty-printed object. It waits at most `LINGER_S` for
    others. One longer than `max_bytes` is cut after `max_bytes` + 1 bytes: ingest refuses it, and memory stays bounded.

    Raises:
        SettingsError: the file cannot be read, or is no JSON.
    """
    if source == "-":
        yield from _stream(sys.stdin.buffer, "<stdin>", max_bytes)
        return
    if Path(source).is_dir():
        raise SettingsError(
            f"{source}: is a folder; name a file of JSON Lines, or send several: cat {source}/*.jsonl | karma enqueue -"
        )
    try:
        with Path(source).open("rb") as file:
            yield from _stream(file, source, max_bytes)
    except OSError as cause:
        raise SettingsError(f"{source}: cannot be read: {cause.strerror}") from cause


def _stream(file: BinaryIO, name: str, max_bytes: int) -> Iterator[list[Line]]:
    splitter = Splitter(max_bytes)
    lines: list[Line] = []
    oldest: float | None = None  # None before the first byte
    descriptor = file.fileno()
    while True:
        wait = None if not lines or oldest is None else max(0.0, oldest + LINGER_S - time.monotonic())
        if not select.select([descriptor], [], [], wait)[0]:
            yield lines
            lines = []
            continue
        data = os.read(descriptor, _READ_BYTES)
        if oldest is None and (fault := not_json(data, "FILE" if name == "<stdin>" else name)):
            raise SettingsError(f"{name}: {fault}")
        oldest = oldest if lines else time.monotonic()
        for number, content in splitter.feed(data) if data else splitter.finish():
            lines.append(Line(name, number, content))
            if len(lines) >= LINES_AT_ONCE:
                yield lines
                lines = []
                oldest = time.monotonic()
        if not data:
            if lines:
                yield lines
            return
