"""A folder that `datasets.load_dataset` opens: one configuration per format, files by split, and a dataset card.

    DIR/README.md                        the card: where the data comes from, and which files are which split
    DIR/FORMAT/SPLIT-00000.parquet       the rows, in parts of at most so many preferences
    DIR/FORMAT/.state.json               how far the export came, and what it consists of
    DIR/.FORMAT.unfinished/              an export that is not finished

An export that follows the store adds parts to the published ones.

An export is written beside the folder's data and takes its place when it is whole, so nobody reads half of one. One
that was stopped goes on after its last finished part when the same command runs again.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from karma.config.atomic_file import whole_file
from karma.config.splits import WHOLE, Splits
from karma.errors import KarmaError, SettingsError
from karma_gateway.exports import files, parts
from karma_gateway.exports.reader import Exported, Reader
from karma_gateway.exports.tail import Tail
from karma_gateway.exports.tally import Tally

#: Preferences in a part, by default.
PART_PREFERENCES = 100_000

_STATE = ".state.json"
_UNFINISHED = re.compile(r"\..+\.unfinished")
_CARD = "README.md"


@dataclass(frozen=True)
class Layout:
    """How the rows are laid out in files."""

    splits: Splits = WHOLE
    ending: str = ".parquet"  # or .jsonl, which has one part, as its types are taken from the first rows
    part_preferences: int = PART_PREFERENCES


@dataclass
class State:
    """How far an export came: everything up to the pair `after` is in its finished parts."""

    settings: dict[str, Any]  # what must be the same for an export to go on
    newest: float = 0.0  # when the newest preference was resolved, at the beginning or as it follows; since 1970, s
    recent: dict[int, float] = field(default_factory=dict)  # as `tail.Tail` has it
    after: int = 0
    parts: int = 0
    tally: Tally = field(default_factory=Tally)
    unrepresentable: dict[str, int] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write it into the folder of the parts."""
        stored = {**vars(self), "tally": self.tally.stored()}
        with whole_file(folder / _STATE) as unfinished:
            unfinished.write_text(json.dumps(stored))

    @classmethod
    def read(cls, folder: Path) -> State | None:
        """What is in a folder; None if there is none, or none of this version."""
        try:
            stored = json.loads((folder / _STATE).read_text())
            recent = {int(pair): at for pair, at in stored["recent"].items()}
            return cls(**{**stored, "tally": Tally(stored["tally"]), "recent": recent})
        except (OSError, ValueError, TypeError, KeyError):
            return None


def is_folder(out: Path) -> bool:
    """Whether an export to this path is a folder: it is one already, or its name has no ending."""
    return out.is_dir() or not out.suffix


def check_folder(folder: Path) -> None:
    """Check that a folder is empty, not there yet, or an export.

    Raises:
        SettingsError: it is something else.
    """
    if folder.exists() and not folder.is_dir():
        raise SettingsError(f"{folder}: is a file; an export without an ending of its name is a folder")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    # One that was killed in its first part has no state yet.
    if not any((part / _STATE).exists() or _UNFINISHED.fullmatch(part.name) for part in folder.iterdir()):
        raise SettingsError(f"{folder}: holds files that are not of an export; name an empty folder, or another one")


class NothingToExportError(KarmaError):
    """There is no preference to export."""


class FolderExport:
    """Writes one configuration of a folder."""

    def __init__(
        self,
        reader: Reader,
        folder: Path,
        layout: Layout,
        settings: dict[str, Any],
        card: Callable[[Path], str],
    ) -> None:
        """Prepare an export.

        Args:
            reader: gives the rows.
            folder: the folder; made if it is not there.
            layout: how the rows are laid out.
            settings: what the rows depend on; an export goes on only under the same.
            card: makes the text of the card of a folder.

        Raises:
            SettingsError: the folder holds something else.
            MissingExtraError: Parquet needs a package that is not installed.
        """
        check_folder(folder)
        if layout.ending == ".parquet":
            files.require_pyarrow()
        self.reader = reader
        self.folder = folder
        self.layout = layout
        self.data = folder / reader.exporter
        self._unfinished = folder / f".{reader.exporter}.unfinished"
        self._settings = json.loads(json.dumps(settings))
        self._card = card
        self.state = self._state()
        self._tail = Tail(reader, self.state.newest, self.state.recent)

    def _state(self) -> State:
        """The state of the export that was not finished, or of a new one."""
        found = State.read(self._unfinished)
        # The texts that were seen are not stored, so that an export without repeated ones begins anew.
        if found is not None and found.settings == self._settings and not self.reader.kept.distinct:
            self.reader.unrepresentable.update(found.unrepresentable)
            return found
        return State(self._settings, newest=self.reader.newest())

    def write(self, seen: Callable[[Iterator[Exported]], Iterable[Exported]] = lambda rows: rows) -> Tally:
        """Write what is left, and put the whole in its place; `seen` passes the preferences on as they are read.

        Raises:
            KarmaError: there is no preference to export, or a file cannot be written.
        """
        if not self.state.parts:
            shutil.rmtree(self._unfinished, ignore_errors=True)
        self._write_parts(iter(seen(self.reader.read(self.state.after, known=self._tail))), self._unfinished)
        if not self.state.tally.preferences:
            shutil.rmtree(self._unfinished, ignore_errors=True)
            raise NothingToExportError(f"{self.folder}: nothing is written, as there is no preference to export")
        self._publish()
        return self.state.tally

    def resume(self) -> bool:
        """Take up the published export, to `follow` it, if it was made under the same settings."""
        found = State.read(self.data)
        if found is None or found.settings != self._settings or self.reader.kept.distinct:
            return False
        _remove_temporary(self.data)
        self.state = found
        self.reader.unrepresentable.update(found.unrepresentable)
        self._tail = Tail(self.reader, found.newest, found.recent)
        return True

    def follow(self) -> int:
        """Add what was resolved since the last call to the published export; returns the number of preferences.

        Raises:
            KarmaError: a file cannot be written.
        """
        before = self.state.tally.preferences
        self._write_parts(self._tail.new(), self.data)
        if self.state.tally.preferences > before:
            self._describe()
        return self.state.tally.preferences - before

    def _write_parts(self, exported: Iterator[Exported], folder: Path) -> None:
        while True:
            with self._part() as part:
                last = _fill(part, exported, self._most())
                if part.count:
                    self._finish_part(part, last, folder)
            if part.count < self._most():
                return

    def _most(self) -> int:
        return self.layout.part_preferences if self.layout.ending == ".parquet" else 1 << 62

    @contextmanager
    def _part(self) -> Iterator[Part]:
        """A part in temporary files."""
        with ExitStack() as stack:
            spools = {
                split: files.Spool(stack.enter_context(TemporaryFile()), self.reader.mixed, self.reader.columns)
                for split in self.layout.splits.shares
            }
            yield Part(self.layout.splits, spools, self.reader, self.state.tally)

    def _finish_part(self, part: Part, last: Exported | None, folder: Path) -> None:
        """Write the files of a part, and then that it is finished. `datasets` reads no split that has no row."""
        for split, spool in part.spools.items():
            if spool.count:
                path = folder / f"{split}-{self.state.parts:05d}{self.layout.ending}"
                with whole_file(path) as file:
                    files.write_spool(spool, self.reader.columns, file, self.layout.ending)
        self.state.parts += 1
        self.state.after = last.pair if last is not None else self.state.after
        self.state.unrepresentable = dict(self.reader.unrepresentable)
        self.state.newest, self.state.recent = self._tail.since, self._tail.recent
        self.state.write(folder)

    def _publish(self) -> None:
        """Put the finished export in its place, and write the card."""
        parts.unify(sorted(self._unfinished.glob("*.parquet")))
        _remove_temporary(self._unfinished)
        old = self.folder / f".{self.reader.exporter}.old"
        shutil.rmtree(old, ignore_errors=True)
        try:
            if self.data.exists():
                self.data.rename(old)
            self._unfinished.rename(self.data)
        except OSError as cause:
            raise KarmaError(f"{self.data}: cannot be written: {cause.strerror or cause}") from cause
        shutil.rmtree(old, ignore_errors=True)
        self._describe()

    def _describe(self) -> None:
        """Give all parts the same columns, and write what describes them."""
        parts.unify(sorted(self.data.glob("*.parquet")))
        with whole_file(self.folder / _CARD) as card:
            card.write_text(self._card(self.folder), encoding="utf-8")
        if self.reader.entries is not None:
            for name, content in self.reader.entries(self._paths()).items():
                with whole_file(self.folder / name) as file:
                    file.write_text(json.dumps(content, indent=2) + "\n")

    def _paths(self) -> dict[str, list[str]]:
        return {
            split: [str(path.relative_to(self.folder)) for path in sorted(self.data.glob(f"{split}-*"))]
            for split in self.layout.splits.shares
            if self.state.tally.rows[split]
        }


def _remove_temporary(folder: Path) -> None:
    """Remove what a process that was killed was about to write."""
    for left in folder.glob(".*"):
        if left.name != _STATE:
            left.unlink()


@dataclass
class Part:
    """Rows of a part in temporary files, one a split."""

    splits: Splits
    spools: dict[str, files.Spool]
    reader: Reader
    tally: Tally
    count: int = 0  # preferences

    def add(self, one: Exported) -> None:
        """Add the rows of a preference.

        Raises:
            SettingsError: a row is not of the declared types.
        """
        split = self.splits.of(one.prompt) if len(self.splits.shares) > 1 else next(iter(self.splits.shares))
        for row in one.rows:
            self.spools[split].add(row)
        self.tally.add(split, one)
        self.count += 1


def _fill(part: Part, exported: Iterator[Exported], most: int) -> Exported | None:
    """Add up to `most` preferences; returns the last one."""
    last = None
    while part.count < most and (one := next(exported, None)) is not None:
        part.add(one)
        last = one
    return last
