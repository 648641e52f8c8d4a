"""`karma report`: what is known of models, pairs and judges, as one page with pictures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from karma.atomic_file import whole_file
from karma.errors import KarmaError
from karma.ranking.snapshot import Snapshot
from karma.store import Store
from karma.store.latest_snapshot import LatestSnapshot
from karma_monitor.figures.leaderboard import Point
from karma_monitor.figures.quality import Quality, measure
from karma_monitor.report_old.html import page
from karma_monitor.report_old.model_panels import competency, kinship, wins
from karma_monitor.report_old.pair_panels import gate, length_bias, policies, positions

_COURSE_POINTS = 60


def write(store: Store, path: Path, stream: str | None = None) -> None:
    """Write the page; it appears when it is whole.

    Raises:
        KarmaError: the stream holds nothing, or the file cannot be written.
    """
    with store.reading() as transaction:
        snapshot = LatestSnapshot().newest(transaction)
        course = transaction.preferences.competency_history(points=_COURSE_POINTS)
    quality = measure(store, None if stream is None else [stream])
    if stream is not None and not quality.tallies:
        raise KarmaError(f"the stream {stream!r} holds no pair yet, so there is nothing to report")
    whole = compose(snapshot, course, quality, stream, time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(store.clock())))
    with whole_file(path) as unfinished:
        unfinished.write_text(whole, encoding="utf-8")


def compose(snapshot: Snapshot, course: Sequence[Point], quality: Quality, stream: str | None, made_at: str) -> str:
    """The page as text."""
    pairs = sum(tally.pairs for tally in quality.tallies.values())
    what = "all streams" if stream is None else f"the stream {stream}"
    counted = "1 pair" if pairs == 1 else f"{pairs:,} pairs"
    said = [f"{counted} of {what}. Made {made_at}. Behind each picture are its figures as a table."]
    sections = [
        competency(snapshot, course),
        kinship(snapshot),
        wins(quality, snapshot),
        gate(quality),
        length_bias(quality),
        policies(quality),
        positions(quality),
    ]
    return page("KARMA report", said, sections)
