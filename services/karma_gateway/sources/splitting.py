"""Splits a file into prompts: by lines, or by values where it is a JSON array or pretty-printed.

What a file is, is decided by its beginning. Lines are the rule: a broken line takes no other with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n"

#: What structures JSON outside of its texts. A line break ends a text: JSON has none in a text.
_STRUCTURE = re.compile(rb'\\.|["{}\[\],\n]', re.DOTALL)


class Splitter:
    """Splits the bytes of a file, as they arrive, into (line number, content).

    Lines end with LF, CR or both. The content of more than `max_bytes` is cut after `max_bytes` + 1, so that memory
    stays bounded and ingest refuses it.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._split: Callable[[bytes], Iterator[tuple[int, bytes]]] | None = None  # None until the file has begun
        self._head = b""
        self._after_cr = False
        self._pending = bytearray()  # of the current line or value, without leading blanks
        self._line = 1
        self._began = 1  # the line that the current value began at
        self._depth = 0
        self._in_text = False
        self._backslash = b""  # the last byte, if what it escapes has not arrived

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The prompts that are complete with these bytes."""
        after_cr, self._after_cr = self._after_cr, data.endswith(b"\r")
        data = data[1:] if after_cr and data.startswith(b"\n") else data
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if self._split is None:
            head = (self._head + data).removeprefix(_BOM)
            self._head = head.lstrip(_BLANK)
            self._line += head.count(b"\n", 0, len(head) - len(self._head))
            self._split = self._choose(self._head)
            data = self._head
        if self._split is not None:
            yield from self._split(data)

    def finish(self) -> Iterator[tuple[int, bytes]]:
        """What is left at the end of the file."""
        if self._split is None:
            yield from self._lines(self._head)
        self._add(self._backslash)
        yield from self._cut()

    @property
    def is_within_line(self) -> bool:
        """Whether the beginning of a value has come, and not its end."""
        return bool(self._pending or (self._split is None and self._head))

    def _choose(self, head: bytes) -> Callable[[bytes], Iterator[tuple[int, bytes]]] | None:
        """How a file that begins like this is split; None if more of it is needed to know."""
        if _BOM.startswith(head):
            return None
        begun = head.lstrip(_BLANK)
        if not begun.startswith(b"{"):
            return self._array if begun.startswith(b"[") else self._lines if begun else None
        line, ended, rest = begun.partition(b"\n")
        if not ended:
            return None if len(begun) <= self._max_bytes else self._lines
        last, following = line.rstrip(_BLANK)[-1:], rest.lstrip(_BLANK)[:1]
        if last == b",":  # a pretty-printed object goes on; after a broken line, the next object begins
            return None if not following else self._lines if following == b"{" else self._values
        return self._values if last in (b"{", b"[", b":") else self._lines

    def _lines(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        *whole, rest = data.split(b"\n")
        for part in whole:
            self._add(part)
            yield from self._cut()
            self._line += 1
        self._add(rest)

    def _array(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The elements of an array; its opening bracket is in `data`."""
        before, _bracket, rest = data.partition(b"[")
        self._line += before.count(b"\n")
        self._split = self._values
        yield from self._values(rest)

    def _values(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Values one after another, with or without commas; after the end of an array, lines."""
        data = self._backslash + data
        self._backslash = b"\\" if (len(data) - len(data.rstrip(b"\\"))) % 2 else b""
        data = data[: len(data) - len(self._backslash)]
        done = 0
        for match in _STRUCTURE.finditer(data):
            token = match[0]
            if token == b"\n":
                self._add(data[done : match.end()])
                done = match.end()
                if self._depth == 0:
                    yield from self._cut()
                self._line += 1
                self._in_text = False  # JSON has no line break in a text: what follows is read again
            elif token == b'"':
                self._in_text = not self._in_text
            elif self._in_text or token.startswith(b"\\"):
                continue
            elif token in (b"{", b"["):
                self._depth += 1
            elif token == b"," or self._depth == 0:  # between values, or the end of the array
                if self._depth == 0:
                    self._add(data[done : match.start()])
                    done = match.end()
                    yield from self._cut()
                if token == b"]":
                    self._split = self._lines
                    yield from self._lines(data[done:] + self._backslash)
                    self._backslash = b""
                    return
            else:
                self._depth -= 1
                if self._depth == 0:
                    self._add(data[done : match.end()])
                    done = match.end()
                    yield from self._cut()
        self._add(data[done:])

    def _add(self, part: bytes) -> None:
        if not self._pending:
            part = part.lstrip(_BLANK)
            self._began = self._line
        if len(self._pending) <= self._max_bytes:
            self._pending += part[: self._max_bytes + 1 - len(self._pending)]

    def _cut(self) -> Iterator[tuple[int, bytes]]:
        if self._pending:
            content = bytes(self._pending)
            yield self._began, content.rstrip(_BLANK) if len(content) <= self._max_bytes else content
            self._pending.clear()
