"""Pair-quality statistics of a stream for the page: distributions, biases, policies, judge budgets, judges, cost."""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import asdict
from heapq import nlargest
from typing import Any

import numpy as np

from karma.ranking.snapshot import Snapshot
from karma.ranking.tail import TOLERANCE
from karma.store import Store
from karma.store.latest_snapshot import LatestSnapshot
from karma.store.pair_quality import PairQuality
from karma.store.records import PairRecord
from karma_monitor.figures.intervals import ratio
from karma_monitor.figures.judges import first_position, judges
from karma_monitor.figures.judges.canaries import canary_figures
from karma_monitor.figures.judges.cascades import cascade_figures
from karma_monitor.figures.judges.people import people_figures
from karma_monitor.figures.predictions import label_limit_of, label_tail_of
from karma_monitor.figures.preferences import over_time, preference_figures
from karma_monitor.figures.quality import (
    TieMargin,
    flips_by_gap,
    length_buckets,
    main_policy,
    policy_figures,
    quality_of,
)
from karma_monitor.figures.window import Window
from karma_monitor.live_status import LiveStatus
from karma_monitor.queries.pairs import judge_budgets
from karma_monitor.queries.recent import ended_without_pair
from karma_monitor.refresh import Pace

#: Streams that are told apart: those with most pairs of the window.
_MOST_STREAMS = 200

#: Streams whose windows are kept.
_STREAMS = 6
_WINDOW_S = 0.1  # a request spends at most so long on reading pairs
_SHARE = 0.05  # of the time, on one stream
_EVERY_S = 2.0


def _edges(start: float, end: float, step: float) -> tuple[float, ...]:
    return tuple(np.round(np.arange(start, end + step / 2, step), 2).tolist())


#: Ends of the buckets of the distributions.
EDGES: dict[str, tuple[float, ...]] = {
    "gap": _edges(-4.0, 4.0, 0.5),
    "information": _edges(0.0, 1.0, 0.05),
    "kinship": _edges(0.0, 1.0, 0.1),
    "likeness": _edges(0.0, 1.0, 0.1),
    "novelty": _edges(0.0, 1.0, 0.1),
    "length_ratio": (1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 4.0, 8.0, 16.0),
    "probability": _edges(0.5, 1.0, 0.05),
}


class _Kept:
    """One stream's window, and its statistics."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.lock = threading.Lock()
        self.pace = Pace(_SHARE, _EVERY_S)
        self.found: dict[str, Any] = {}


class QualityView:
    """The quality of the newest pairs of a stream, or of all."""

    def __init__(self, store: Store, live: LiveStatus, tie_margin: TieMargin, window_s: float = _WINDOW_S) -> None:
        self._store = store
        self._live = live
        self._tie_margin = tie_margin
        self._window_s = window_s
        self._lock = threading.Lock()
        self._kept: OrderedDict[str | None, _Kept] = OrderedDict()
        self._snapshot = LatestSnapshot()

    def read(self, stream: str | None) -> dict[str, Any]:
        """The quality now, or as it was moments ago."""
        kept = self._of(stream)
        with kept.lock:
            if not kept.found or kept.pace.is_due:
                started = time.monotonic()
                if stream is None:
                    self._live.pairs()
                else:
                    kept.window.renew(self._window_s)
                kept.found = self._measure(stream, list(kept.window))
                kept.pace.finished(time.monotonic() - started)
            # Calls are not told apart by stream.
            return {**kept.found, "cost": self._live.cost() if stream is None else {}}

    def _of(self, stream: str | None) -> _Kept:
        with self._lock:
            if stream not in self._kept:
                self._kept[stream] = _Kept(self._live.window if stream is None else Window(self._store, stream))
            self._kept.move_to_end(stream)
            while len(self._kept) > _STREAMS:
                self._kept.popitem(last=False)
            return self._kept[stream]

    def _measure(self, stream: str | None, records: Sequence[PairRecord]) -> dict[str, Any]:
        quality = quality_of(records, self._tie_margin, self._live.rules)
        self._add_without_pair(quality, records)
        with self._store.reading() as transaction:
            snapshot = self._snapshot.newest(transaction)
            canaries = canary_figures(transaction.ledger.connection, self._tie_margin, stream)
            people = people_figures(transaction.ledger.connection, stream)
        return {
            "stream": stream,
            "window": len(records),
            "window_from": min((record.resolved_at for record in records), default=None),
            "histograms": histograms(records),
            "preferences_over_time": over_time(records),
            **statistics(quality, snapshot),
            "policies": policies(quality, stream),
            "canaries": canaries,
            "gate": self._budgets(stream, snapshot),
            "tail_tolerance": TOLERANCE,
            "people": people,
        }

    def _add_without_pair(self, quality: PairQuality, records: Sequence[PairRecord]) -> None:
        """Prompts that ended without a pair while the window's pairs were resolved; for the stream's main policy."""
        most = Counter(record.stream for record in records).most_common(_MOST_STREAMS)
        shown = {stream for stream, _number in most}
        first: dict[str, tuple[int, float]] = {}
        for record in records:
            if record.stream not in shown:
                continue
            prompt, at = first.get(record.stream, (record.pair.prompt, record.resolved_at))
            first[record.stream] = (min(prompt, record.pair.prompt), min(at, record.resolved_at))
        with self._store.reading() as transaction:
            for stream, (prompt, at) in first.items():
                number = ended_without_pair(transaction.ledger.connection, stream, at, prompt)
                quality.policies[stream, main_policy(quality, stream)].without_pair = number

    def _budgets(self, stream: str | None, snapshot: Snapshot) -> list[dict[str, Any]]:
        """The share judged under each judge budget over all its pairs, and its audit."""
        with self._store.reading() as transaction:
            rows = judge_budgets(transaction.ledger.connection, stream)
        return [
            {
                "stream": row.stream,
                "pairs": row.seen,
                "judged_share": ratio(row.judged, row.seen),
                "label_error": asdict(snapshot.audits[row.stream]) if row.stream in snapshot.audits else None,
                "label_limit": label_limit_of(snapshot, row.stream),
                "tail": label_tail_of(snapshot, row.stream),
            }
            for row in rows
        ]


def statistics(quality: PairQuality, snapshot: Snapshot) -> dict[str, Any]:
    """Biases and judges, from the sums over the pairs of a window or over all."""
    return {
        "first_position": first_position(quality),
        "flips_by_gap": flips_by_gap(quality),
        "cascades": cascade_figures(quality.cascades, snapshot),
        "length": length_buckets(quality),
        "length_predicted": length_buckets(quality, "predicted"),
        "preferences": preference_figures(quality.preferences),
        "judges": judges(quality, snapshot),
    }


def policies(quality: PairQuality, stream: str | None) -> list[dict[str, Any]]:
    """The figures of each policy, of a stream or of all."""
    of_stream = {key: sums for key, sums in quality.policies.items() if stream in (None, key[0])}
    shown = nlargest(_MOST_STREAMS, of_stream, key=lambda key: of_stream[key].pairs)
    return [
        {"name": policy if stream is not None else f"{of}: {policy}", **policy_figures(of_stream[of, policy])}
        for of, policy in sorted(shown)
    ]


def histograms(records: Sequence[PairRecord]) -> dict[str, Any]:
    """The distributions of the pairs. What lies beyond the last edge is counted in the last bucket."""
    values: dict[str, list[float]] = {name: [] for name in EDGES}
    for record in records:
        pair = record.pair
        for name in ("gap", "information", "kinship", "likeness", "novelty"):
            value = getattr(pair, name)
            if value is not None:
                values[name].append(value)
        long, short = max(pair.length_a, pair.length_b), min(pair.length_a, pair.length_b)
        values["length_ratio"].append(long / max(1, short) if long else 1.0)
        if record.outcome == "decisive" and record.probability is not None:
            values["probability"].append(max(record.probability, 1.0 - record.probability))
    found = {}
    for name, edges in EDGES.items():
        within = np.clip(values[name], edges[0], edges[-1])
        found[name] = {"edges": list(edges), "counts": np.histogram(within, edges)[0].tolist()}
    return found
