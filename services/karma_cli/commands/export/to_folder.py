"""An export to a folder, with its dataset card."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.progress import Progress

from karma.config.pool import Pool
from karma.store import Store
from karma_cli.commands.export.lineage import lineage
from karma_cli.commands.export.stopping import until_stopped
from karma_cli.output import warn
from karma_cli.progress import track
from karma_gateway.exports.card import card
from karma_gateway.exports.folder import FolderExport, Layout, NothingToExportError, State
from karma_gateway.exports.reader import Exported, Reader
from karma_gateway.exports.tally import Tally

#: Seconds after which an export that follows measures the biases of its card again: it reads all pairs for them.
_ORIGIN_S = 600.0


def to_folder(
    store: Store,
    pool: Pool | None,
    reader: Reader,
    folder: Path,
    layout: Layout,
    licence: str | None,
    bar: Progress,
    total: int | None,
    follow_s: float | None = None,
) -> Tally:
    """Write the preferences to a folder; the counts are of all that is in it in this format.

    With `follow_s`, go on until SIGINT or SIGTERM, and add every so many seconds what was resolved meanwhile.

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

    origin: dict[str, Any] = {}
    measured_at = -math.inf

    def text(whole: Path) -> str:
        nonlocal origin, measured_at
        if time.monotonic() - measured_at > _ORIGIN_S:
            origin, measured_at = lineage(store, pool, reader.kept.stream), time.monotonic()
        return card(whole, origin, licence)

    def seen(rows: Iterator[Exported]) -> Iterable[Exported]:
        return track(rows, bar, "preferences written", total)

    export = FolderExport(reader, folder, layout, settings, text)
    if follow_s is None:
        tally = export.write(seen)
        for empty in [name for name in layout.splits.shares if not tally.rows[name]]:
            warn(f"the split {empty} has no row yet, so the folder does not have it")
        return tally
    with until_stopped() as wait:
        stopped, begun = False, export.resume()
        while not stopped:
            if begun:
                export.follow()
            else:
                with suppress(NothingToExportError):
                    export.write(seen)
                    begun = True
            stopped = wait(follow_s)
    if begun:
        export.follow()
    return export.state.tally


def _has_default(folder: Path, own: str) -> bool:
    """Whether another configuration of the folder is the default."""
    others = [path for path in folder.glob("*") if path.is_dir() and path.name != own and not path.name.startswith(".")]
    return any(state.settings.get("default") for path in others if (state := State.read(path)) is not None)
