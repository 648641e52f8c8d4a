"""Earlier refits: the competencies over time."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import numpy as np

from karma.ranking.snapshot import Snapshot
from karma.ranking.snapshot_archive import from_bytes
from karma.store import Transaction
from karma_monitor.figures.intervals import evenly
from karma_monitor.queries.pairs import snapshot_body

#: One refit: creation time in seconds since 1970, version, competencies.
Point = tuple[float, int, Snapshot]


_PAIR_TABLES = ("gap_deviation", "kinship", "information", "win", "comparisons")


class Refits:
    """At most `points` refits, evenly spread over those in the store. A refit never changes, so each is read once."""

    def __init__(self, points: int) -> None:
        self._points = points
        self._read: dict[int, Point] = {}

    def read(self, transaction: Transaction, most_s: float = math.inf) -> list[Point]:
        """The refits, oldest first; those that cannot be read within `most_s` seconds come with the next call."""
        deadline = time.monotonic() + most_s
        kept = transaction.preferences.snapshot_times()
        wanted = dict(kept[index] for index in evenly(len(kept), self._points))
        self._read = {version: point for version, point in self._read.items() if version in wanted}
        for version in sorted(wanted.keys() - self._read.keys(), reverse=True):
            if time.monotonic() > deadline:
                break
            body = snapshot_body(transaction.ledger.connection, version)
            if body is not None:
                self._read[version] = (wanted[version], version, _means_only(from_bytes(body)))
        return [self._read[version] for version in sorted(self._read)]


def _means_only(snapshot: Snapshot) -> Snapshot:
    """A refit without its pair tables, which take most of the memory and which no history shows."""
    nothing = np.broadcast_to(np.float64(0.0), snapshot.kinship.shape)
    tables: dict[str, Any] = dict.fromkeys(_PAIR_TABLES, nothing)
    return replace(snapshot, **tables, cosine=None, outcome=None)
