"""Splits a file into prompts: by lines, or by values where it is a JSON array or pretty-printed.

What a file is, is decided by its beginning. Lines are the rule: a broken line takes no other with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n"

#: Beginnings of files that are no JSON: the beginning, what such a file is, and what to do.
_FORMATS: Sequence[tuple[bytes, str, str]] = (
    (b"\x1f\x8b", "gzip", "unpack it: gunzip -c {name} | karma enqueue -"),
    (b"BZh", "bzip2", "unpack it: bunzip2 -c {name} | karma enqueue -"),
    (b"\xfd7zXZ\x00", "xz", "unpack it: xz -dc {name} | karma enqueue -"),
    (b"\x28\xb5\x2f\xfd", "zstd", "unpack it: zstd -dc {name} | karma enqueue -"),
    (b"PK\x03\x04", "a zip archive or a spreadsheet", "unpack it, or save the table as JSON Lines"),
    (b"PAR1", "Parquet", "convert it: datasets.Dataset.from_parquet({name!r}).to_json('prompts.jsonl')"),
    (b"ARROW1", "Arrow", "convert it to JSON Lines, for example with Dataset.to_json of `datasets`"),
    (b"\xff\xfe", "UTF-16", "save it as UTF-8"),
    (b"\xfe\xff", "UTF-16", "save it as UTF-8"),
    (b"version https://git-lfs", "a pointer of Git LFS", "fetch the file itself: git lfs pull"),
    (b"<", "HTML or XML", "download the file itself, not its page"),
)

_SEPARATOR = re.compile(rb"[,;\t]")

#: What structures JSON outside of its texts. A line break ends a text: JSON has none in a text.
_STRUCTURE = re.compile(rb'\\.|["{}\[\],\n]', re.DOTALL)


def not_json(head: bytes, name: str) -> str | None:
    """What a file that is no JSON looks like by its beginning, and what to do; None if it may be JSON Lines."""
    for magic, kind, remedy in _FORMATS:
        if head.startswith(magic):
            return f"looks like {kind}; {remedy.format(name=name)}"
    first, *others = [line for line in re.split(rb"[\r\n]+", head.removeprefix(_BOM)) if line.strip()][:2] or [b""]
    if others and not any(line.lstrip().startswith((b"{", b"[")) for line in (first, *others)):
        separator = _SEPARATOR.search(first)
        # A comma in a line of text is no separator: a table has as many in the next line.
        if separator and first.count(separator[0]) == others[0].count(separator[0]):
            kind = "tab-separated values" if separator[0] == b"\t" else "CSV"
            return (
                f"looks like {kind}; convert it to JSON Lines, one object with `prompt` per line, for example with "
                "pandas: read_csv(…).to_json(…, orient='records', lines=True)"
            )
    return None


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
