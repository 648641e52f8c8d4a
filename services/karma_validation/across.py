"""What only several rows together show: prompts in two splits, repeated rows, order, length.

Prompts and rows that were seen are kept as hashes in a temporary SQLite file, so that memory stays flat.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

from karma.seeds import prompt_seed, seed_of
from karma_validation.problems import Place, Problems
from karma_validation.reading import File, Read
from karma_validation.shapes import Preference
from karma_validation.turns import shown, words

_TYPED_BYTES = 10 << 20
_KINDS: Mapping[type, str] = {
    bool: "boolean",
    int: "whole number",
    float: "number",
    str: "text",
    list: "list",
    dict: "object",
}

#: Of this share and more, one side is the longer one too often; only if so many preferences show it.
_LENGTH_BIAS = 0.65
_LENGTH_PREFERENCES = 100

#: Labels of one kind in a row that are too many, at least; more where one label is frequent.
_RUN = 32


@dataclass
class _Lengths:
    """How often the better side is the longer one."""

    longer: int = 0
    unequal: int = 0
    last: Place | None = None


@dataclass
class _Labels:
    """The order of the rows of unpaired preferences in one split."""

    last_prompt: int | None = None
    counts: tuple[int, int] = (0, 0)  # rejected, chosen
    label: bool | None = None
    run: int = 0
    began: Place | None = None
    longest: tuple[int, Place | None, bool] = (0, None, False)

    def add(self, label: bool, place: Place) -> None:
        self.counts = (self.counts[0] + (not label), self.counts[1] + label)
        if label is not self.label:
            self.label, self.run, self.began = label, 0, place
        self.run += 1
        if self.run > self.longest[0]:
            self.longest = (self.run, self.began, label)


class AcrossRows:
    """Sees every row once, in order."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._folder = TemporaryDirectory(prefix="karma-validate-")
        self._seen = sqlite3.connect(Path(self._folder.name) / "seen.db", isolation_level=None)
        for statement in (
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            "PRAGMA cache_size = -16000",
            "CREATE TABLE prompts (key INTEGER PRIMARY KEY, split TEXT, file TEXT, number INTEGER)",
            "CREATE TABLE rows (key INTEGER PRIMARY KEY, file TEXT, number INTEGER)",
            "BEGIN",
        ):
            self._seen.execute(statement)
        self._columns: dict[tuple[str, str], dict[str, bool]] = {}  # (file, column) → kind → seen late only
        self._lengths: dict[str, _Lengths] = {}
        self._labels: dict[tuple[str, str], _Labels] = {}

    def __enter__(self) -> Self:
        """Used as a context, as it has a temporary file."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the temporary file."""
        self._seen.close()
        self._folder.cleanup()

    def add_columns(self, row: Read) -> None:
        """Look at the types of the columns."""
        is_late = row.offset is not None and row.offset >= _TYPED_BYTES
        for name, value in (row.value or {}).items():
            kind = _KINDS.get(type(value))
            if kind is None:
                continue
            kinds = self._columns.setdefault((row.place.file, name), {})
            is_new, first = kind not in kinds, next(iter(kinds), kind)
            if is_new:
                kinds[kind] = is_late
            numbers = {"number", "whole number"}
            if is_late and kinds[kind] and not (kind == "whole number" and "number" in kinds):
                self._problems.add(row.place, "late-type", f"{name} is a {kind}, as in no row of the first 10 MiB")
            if is_new and kind != first and not {kind, first} <= numbers:
                self._problems.add(
                    row.place, "mixed-types", f"{name} is a {kind} from here on; before it was a {first}"
                )

    def add(self, file: File, place: Place, preference: Preference) -> None:
        """Look at a preference beside the others."""
        prompt = prompt_seed(
            [{"role": turn["role"], "content": str(turn.get("content") or "")} for turn in preference.prompt]
        )
        self._check_split(file, place, prompt, preference)
        self._check_repeats(file, place, preference)
        if preference.label is not None:
            labels = self._labels.setdefault((file.configuration, file.split), _Labels())
            if labels.last_prompt == prompt:
                self._problems.add(place, "unmixed", "it answers the same prompt as the row before")
            labels.last_prompt = prompt
            labels.add(preference.label, place)
        elif len(preference.answers) == 2:
            better, worse = (len(words(answer)) for answer in preference.answers)
            lengths = self._lengths.setdefault(file.configuration, _Lengths())
            lengths.longer += better > worse
            lengths.unequal += better != worse
            lengths.last = place

    def finish(self) -> None:
        """Note what all rows together show."""
        for lengths in self._lengths.values():
            share = lengths.longer / max(1, lengths.unequal)
            if lengths.unequal >= _LENGTH_PREFERENCES and max(share, 1 - share) >= _LENGTH_BIAS and lengths.last:
                side = "chosen" if share > 0.5 else "rejected"
                found = f"the {side} side is the longer one in {max(share, 1 - share):.1%} of {lengths.unequal} rows"
                self._problems.add(lengths.last, "length-bias", found)
        for labels in self._labels.values():
            run, began, label = labels.longest
            share = labels.counts[label] / sum(labels.counts)
            # The longest run expected of n independent labels of this share, and as much again for safety.
            usual = _RUN if share in (0.0, 1.0) else 2 * math.log(sum(labels.counts)) / -math.log(share)
            if began is not None and 0 not in labels.counts and run > max(_RUN, usual):
                self._problems.add(began, "unmixed", f"from here, {run} rows have the label {shown(label)}")

    def _check_split(self, file: File, place: Place, prompt: int, preference: Preference) -> None:
        key = seed_of(file.configuration, prompt)
        self._seen.execute(
            "INSERT OR IGNORE INTO prompts VALUES (?, ?, ?, ?)", (key, file.split, place.file, place.row)
        )
        split, *other = self._seen.execute("SELECT split, file, number FROM prompts WHERE key = ?", (key,)).fetchone()
        if split != file.split:
            found = f"the prompt {shown(words(preference.prompt))} of {file.split} is in {split} too: {Place(*other)}"
            self._problems.add(place, "split-leak", found)

    def _check_repeats(self, file: File, place: Place, preference: Preference) -> None:
        parts = [file.configuration, words(preference.prompt)]
        answers = [words(answer) for answer in preference.answers]
        if preference.label is None:
            own, opposite = seed_of(*parts, *answers), seed_of(*parts, *reversed(answers))
        else:
            own, opposite = (
                seed_of(*parts, *answers, int(label)) for label in (preference.label, not preference.label)
            )
        for kind, key in (("repeated", own), ("contradiction", opposite)):
            found: Any = self._seen.execute("SELECT file, number FROM rows WHERE key = ?", (key,)).fetchone()
            if found and (kind == "repeated" or own != opposite):
                self._problems.add(place, kind, f"as in {Place(*found)}")
        self._seen.execute("INSERT OR IGNORE INTO rows VALUES (?, ?, ?)", (own, place.file, place.row))
