"""`karma report`: the page frozen with its data in one file, measured over all pairs where the page has a window."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from karma.config.atomic_file import whole_file
from karma.config.pool import Pool
from karma.config.settings import PipelineSettings, StreamSettings
from karma.errors import KarmaError
from karma.ranking.snapshot import OVERALL, Snapshot
from karma.store import Store
from karma.store.latest_snapshot import LatestSnapshot
from karma.store.pair_quality import PairQuality
from karma_monitor.figures.quality import measure, rules_of
from karma_monitor.live_status import LiveStatus
from karma_monitor.page.frozen import frozen
from karma_monitor.page.models import Leaderboards, Wins
from karma_monitor.page.quality import QualityView, policies, statistics
from karma_monitor.page.views import Views

#: Streams that have statistics of their own beside those of all.
_STREAMS = 12

_EMPTY = Pool(Path("pool.toml"), {}, {}, {}, {}, StreamSettings(), {}, PipelineSettings())

#: The parts of the live status that a report shows.
_SHOWN = ("outcome", "states", "resolutions", "preferences", "funnel", "endpoints", "quality", "problems")


def write(store: Store, pool: Pool | None, path: Path, stream: str | None = None) -> None:
    """Write the report on all streams, or on one; the file appears when it is whole.

    Args:
        store: the store that is reported on.
        pool: names models, judges and prices that the store does not know; None without a pool file.
        path: of the file.
        stream: only this stream.

    Raises:
        KarmaError: the stream has no pair, or the file cannot be written.
    """
    content = frozen("KARMA report", collect(store, pool, stream))
    with whole_file(path) as unfinished:
        unfinished.write_text(content, encoding="utf-8")


def collect(store: Store, pool: Pool | None, stream: str | None = None) -> dict[str, Any]:
    """The data of the report: the live status and the answers that `report.js` reads.

    Raises:
        KarmaError: the stream has no pair.
    """
    pool = pool or _EMPTY
    measured = measure(store, pool.tie_margin, None if stream is None else [stream], rules_of(pool))
    if stream is not None and not measured.policies:
        raise KarmaError(f"the stream {stream!r} has no pair yet, so there is nothing to report")
    live = LiveStatus(store, None, pool)
    live.read_everything()
    streams = _largest(measured)
    with store.reading() as transaction:
        snapshot = LatestSnapshot().newest(transaction)
    view = QualityView(store, live, pool.tie_margin, window_s=math.inf)
    quality = {stream or "": {**view.read(stream), "all": _all(measured, stream, snapshot)}}
    if stream is None and len(streams) > 1:
        quality |= {name: {**view.read(name), "all": {"policies": policies(measured, name)}} for name in streams}
    shown = live.read() if stream is None else {}
    return {
        "made_at": store.clock(),
        "stream": stream,
        "pairs": sum(sums.pairs for sums in measured.policies.values()),
        "overall": OVERALL,
        "picture": {**{name: shown[name] for name in _SHOWN if shown}, "streams": [name for name in quality if name]},
        "answers": {
            "/api/quality": quality,
            "/api/models": _models(store, live, measured),
            "/api/failures": {"": Views(store, None, live, pool.tie_margin).failures() if stream is None else {}},
        },
    }


def _largest(measured: PairQuality) -> list[str]:
    """The streams with the most pairs."""
    pairs: dict[str, int] = {}
    for (stream, _policy), sums in measured.policies.items():
        pairs[stream] = pairs.get(stream, 0) + sums.pairs
    return sorted(sorted(pairs, key=lambda name: -pairs[name])[:_STREAMS])


def _all(measured: PairQuality, stream: str | None, snapshot: Snapshot) -> dict[str, Any]:
    """The statistics over all pairs, in place of those of the window."""
    return {"policies": policies(measured, stream), **statistics(measured, snapshot)}


def _models(store: Store, live: LiveStatus, measured: PairQuality) -> dict[str, Any]:
    """The models by skill; who beat whom overall is counted over the pairs of the report."""
    boards = Leaderboards(store, live, history_s=math.inf)
    overall = boards.read(None)
    wins = Wins.counted(measured.wins)
    ranked = [one["model"] for one in overall["models"]]
    overall["wins"] = {**wins.matrix([*ranked, *sorted(wins.models - {*ranked})]), "is_of_report": True}
    return {OVERALL: overall, **{skill: boards.read(skill) for skill in overall["skills"] if skill != OVERALL}}
