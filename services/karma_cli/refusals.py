"""Refused rows: the first are printed, all are counted by kind, and written to a file if that is asked for."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from karma.errors import SettingsError
from karma.telemetry.escaping import escape_control
from karma_gateway.ingest import Refusal
from karma_gateway.sources.items import Line, Row

_PRINTED_REFUSALS = 20
_PRINTED_KINDS = 20

#: Values within a reason, by which refusals of one kind differ: quoted texts, indices, numbers.
_VALUE = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\[\d+\]|\d[\d,.]*")


def print_refusals(refused: Sequence[Refusal], already: int) -> None:
    """Print refused lines, the first twenty of a file; `already` have been printed or counted."""
    for refusal in refused[: max(0, _PRINTED_REFUSALS - already)]:
        print(f"× {escape_control(str(refusal))}", file=sys.stderr)
    if already < _PRINTED_REFUSALS <= already + len(refused):
        print("× … further refusals are only counted", file=sys.stderr)


class Refusals:
    """The refusals of one command.

    Args:
        path: where each refused row is written with its reason, as JSON Lines; None: nowhere.
    """

    def __init__(self, path: Path | None) -> None:
        self.count = 0
        self._kinds: dict[str, tuple[int, str]] = {}  # kind → its number, its first refusal
        self._path = path
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        if self._path is not None:
            try:
                self._file = self._path.open("w", encoding="utf-8")
            except OSError as cause:
                raise SettingsError(f"--rejects {self._path}: cannot be written: {cause.strerror}") from cause
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, refused: Sequence[Refusal]) -> None:
        """Print, count and write refusals."""
        print_refusals(refused, already=self.count)
        self.count += len(refused)
        for refusal in refused:
            kind = _VALUE.sub("…", refusal.reason)
            if kind in self._kinds or len(self._kinds) < 1000:
                number, first = self._kinds.get(kind, (0, refusal.reason))
                self._kinds[kind] = number + 1, first
            if self._file is not None:
                self._file.write(json.dumps(_record(refusal), default=str) + "\n")

    def sentences(self) -> list[str]:
        """One sentence per kind with its number, the most frequent first; nothing where all were printed."""
        if self.count <= _PRINTED_REFUSALS:
            return []
        kinds = sorted(self._kinds.values(), reverse=True)[:_PRINTED_KINDS]
        return [f"{number:,} refused, for example: {first}" for number, first in kinds]


def _record(refusal: Refusal) -> dict[str, Any]:
    record: dict[str, Any] = {"source": refusal.source, "number": refusal.number, "reason": refusal.reason}
    if isinstance(refusal.item, Line):
        record["line"] = refusal.item.content.decode("utf-8", "backslashreplace")
    elif isinstance(refusal.item, Row):
        record["row"] = dict(refusal.item.fields)
    return record
