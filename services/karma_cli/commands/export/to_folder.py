"""An export to a folder, with its dataset card."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from rich.progress import Progress

from karma.config.pool import Pool
from karma.store import Store
from karma_cli.commands.export.lineage import lineage
from karma_cli.progress import track
from karma_gateway.exports.card import card
from karma_gateway.exports.folder import FolderExport, Layout, State
from karma_gateway.exports.reader import Exported, Reader
from karma_gateway.exports.tally import Tally


def to_folder(
    store: Store,
    pool: Pool | None,
    reader: Reader,
    folder: Path,
    layout: Layout,
    licence: str | None,
    bar: Progress,
    total: int | None,
) -> Tally:
    """Write the preferences to a folder; the counts are of all that is in it in this format.

    Raises:
        KarmaError: as `FolderExport` does.
    """
    settings = {
        "format": reader.exporter,
        "filter": asdict(reader.kept),
        "bare": reader.bare,
        "splits": dict(layout.splits.shares),
        "ending": layout.ending,
        "part_preferences": layout.part_preferences,
        "default": not _has_default(folder, reader.exporter),
    }

    def text(whole: Path) -> str:
        return card(whole, lineage(store, pool, reader.kept.stream), licence)

    def seen(rows: Iterator[Exported]) -> Iterable[Exported]:
        return track(rows, bar, "preferences written", total)

    return FolderExport(reader, folder, layout, settings, text).write(seen)


def _has_default(folder: Path, own: str) -> bool:
    """Whether another configuration of the folder is the default."""
    others = [path for path in folder.glob("*") if path.is_dir() and path.name != own and not path.name.startswith(".")]
    return any(state.settings.get("default") for path in others if (state := State.read(path)) is not None)
