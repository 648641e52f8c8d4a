"""JSON sources: a file of JSON Lines, an array or pretty-printed objects, or standard input as it arrives."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from karma.errors import SettingsError
from karma_gateway.sources.byte_streams import DAMAGED, ByteStream, DescriptorBytes, UnpackedBytes
from karma_gateway.sources.file_formats import COMPRESSIONS, format_of, refuse_unless_json
from karma_gateway.sources.items import BYTES_AT_ONCE, ITEMS_AT_ONCE, Line
from karma_gateway.sources.splitting import Splitter

#: Seconds that a line may wait for others before it is accepted.
LINGER_S = 0.1


def read_lines(source: str, max_bytes: int) -> Iterator[list[Line]]:
    """The JSON values of a file, compressed or not, or of standard input for `-`, in chunks to be taken together.

    A value is a line, or an element of a JSON array, or a pretty-printed object. It waits at most `LINGER_S` for
    others. One longer than `max_bytes` is cut after `max_bytes` + 1 bytes: whoever takes it refuses it, and memory
    stays bounded.

    Raises:
        SettingsError: the file cannot be read, or is no JSON.
    """
    if source == "-":
        yield from _json(DescriptorBytes(sys.stdin.buffer), "<stdin>", max_bytes)
        return
    if Path(source).is_dir():
        raise SettingsError(f"{source}: is a folder; name a file of JSON Lines, or send several: cat {source}/*.jsonl")
    try:
        with Path(source).open("rb") as file:
            yield from _json(DescriptorBytes(file), source, max_bytes)
    except OSError as cause:
        raise SettingsError(f"{source}: cannot be read: {cause.strerror or cause}") from cause


def _json(stream: ByteStream, name: str, max_bytes: int) -> Iterator[list[Line]]:
    compression = format_of(stream.peek(), name)
    if compression in COMPRESSIONS:
        stream = UnpackedBytes(stream, compression, name)
    refuse_unless_json(stream.peek(), name)
    try:
        yield from chunks_of(stream, name, max_bytes)
    except DAMAGED as cause:
        raise SettingsError(f"{name}: is damaged or cut: {cause}; what was read before is kept") from cause


def chunks_of(stream: ByteStream, name: str, max_bytes: int) -> Iterator[list[Line]]:
    """The JSON values of a stream; a chunk is full, or its first line has waited for `LINGER_S`."""
    splitter = Splitter(max_bytes)
    lines: list[Line] = []
    size, oldest = 0, 0.0
    while True:
        wait = max(0.0, oldest + LINGER_S - time.monotonic()) if lines else None
        try:
            data = stream.read(wait)
        except DAMAGED:
            if lines:
                yield lines
            raise
        if data is None:
            yield lines
            lines, size = [], 0
            continue
        oldest = oldest if lines else time.monotonic()
        for number, content in splitter.feed(data) if data else splitter.finish():
            lines.append(Line(name, number, content))
            size += len(content)
            if len(lines) >= ITEMS_AT_ONCE or size >= BYTES_AT_ONCE:
                yield lines
                lines, size, oldest = [], 0, time.monotonic()
        if not data:
            if lines:
                yield lines
            return
