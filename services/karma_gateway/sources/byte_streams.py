"""Bytes of files and pipes as they arrive, unpacked where they are compressed."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import select
import zlib
from typing import Any, BinaryIO, Protocol

from karma.errors import MissingExtraError, SettingsError

_READ_BYTES = 1 << 16

#: Errors of a compressed file that is damaged or cut.
DAMAGED = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)


class ByteStream(Protocol):
    """Bytes that can be looked at before they are read."""

    def peek(self) -> bytes:
        """The first bytes, at least one unless there is none; they are read again."""
        ...

    def read(self, wait_s: float | None = None) -> bytes | None:
        """The next bytes; empty at the end; None if none came within `wait_s`."""
        ...


class DescriptorBytes:
    """The bytes of a file, a pipe or a terminal."""

    def __init__(self, file: BinaryIO) -> None:
        self._descriptor = file.fileno()
        self._head: bytes | None = None

    def peek(self) -> bytes:
        """The first bytes."""
        if self._head is None:
            self._head = os.read(self._descriptor, _READ_BYTES)
        return self._head

    def read(self, wait_s: float | None = None) -> bytes | None:
        """The next bytes, waiting for them at most `wait_s`."""
        if self._head is not None:
            head, self._head = self._head, None
            return head
        if not select.select([self._descriptor], [], [], wait_s)[0]:
            return None
        return os.read(self._descriptor, _READ_BYTES)


class UnpackedBytes:
    """The unpacked bytes of a compressed stream; `name` is for errors."""

    def __init__(self, packed: ByteStream, method: str, name: str) -> None:
        self._name = name
        self._file = _unpacking(BytesFile(packed), method)
        self._head: bytes | None = None

    def peek(self) -> bytes:
        """The first unpacked bytes.

        Raises:
            SettingsError: the file is damaged from its beginning.
        """
        if self._head is None:
            try:
                self._head = self._read()
            except (*DAMAGED, OSError) as cause:
                raise SettingsError(f"{self._name}: is damaged or cut: {cause}") from cause
        return self._head

    def read(self, wait_s: float | None = None) -> bytes | None:
        """The next bytes; a compressed stream is always waited for."""
        if self._head is not None:
            head, self._head = self._head, None
            return head
        return self._read()

    def _read(self) -> bytes:
        return bytes(self._file.read1(_READ_BYTES))


class BytesFile(io.RawIOBase):
    """A stream of bytes as a file, for readers that want one."""

    def __init__(self, stream: ByteStream) -> None:
        super().__init__()
        self._stream, self._rest = stream, memoryview(b"")

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; 0 at the end."""
        if not self._rest:
            self._rest = memoryview(self._stream.read() or b"")
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _unpacking(packed: io.RawIOBase, method: str) -> Any:
    if method == "gzip":
        return gzip.GzipFile(fileobj=io.BufferedReader(packed))
    if method == "bzip2":
        return bz2.BZ2File(io.BufferedReader(packed))
    if method == "xz":
        return lzma.LZMAFile(io.BufferedReader(packed))
    pyarrow = require_pyarrow("zstd")
    return pyarrow.CompressedInputStream(pyarrow.PythonFile(packed, mode="r"), "zstd")


def require_pyarrow(what: str) -> Any:
    """The package pyarrow.

    Raises:
        MissingExtraError: it is not installed; `what` needs it.
    """
    try:
        import pyarrow
    except ImportError as cause:
        raise MissingExtraError("pyarrow", "parquet", what) from cause
    return pyarrow
