"""What the pairs of a stream are worth, for the page: distributions, biases, policies, the gate, judges, the cost."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from karma.store import Store
from karma.store.latest_snapshot import LatestSnapshot
from karma_monitor.figures.intervals import wilson
from karma_monitor.figures.quality import LENGTH_RATIOS, PolicyTotals, Quality
from karma_monitor.figures.recent_quality import TIE_MARGIN, agreement, first_position
from karma_monitor.figures.window import RecentPair, Window
from karma_monitor.live_status import LiveStatus
from karma_monitor.queries.pairs import gate_figures
from karma_monitor.queries.recent import ended_without_pair
from karma_monitor.refresh import Pace

#: Streams whose windows are kept at hand.
_STREAMS = 6
_WINDOW_S = 0.1  # a request spends so long at most on taking in pairs
_SHARE = 0.05  # of the time, on one stream
_EVERY_S = 2.0

#: Ends of the buckets of the distributions.
EDGES: dict[str, tuple[float, ...]] = {
    "gap": tuple(np.round(np.arange(-4.0, 4.01, 0.5), 1).tolist()),
    "information": tuple(np.round(np.arange(0.0, 1.01, 0.05), 2).tolist()),
    "kinship": tuple(np.round(np.arange(0.0, 1.01, 0.1), 1).tolist()),
    "likeness": tuple(np.round(np.arange(0.0, 1.01, 0.1), 1).tolist()),
    "novelty": tuple(np.round(np.arange(0.0, 1.01, 0.1), 1).tolist()),
    "length_ratio": (1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 4.0, 8.0, 16.0),
    "probability": tuple(np.round(np.arange(0.5, 1.01, 0.05), 2).tolist()),
}


class _Kept:
    """One stream's window, and what was made of it."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.lock = threading.Lock()
        self.pace = Pace(_SHARE, _EVERY_S)
        self.found: dict[str, Any] = {}


class Worth:
    """The quality of the newest pairs of a stream, or of all."""

    def __init__(self, store: Store, board: LiveStatus) -> None:
        self._store = store
        self._board = board
        self._lock = threading.Lock()
        self._kept: OrderedDict[str | None, _Kept] = OrderedDict()
        self._learnt = LatestSnapshot()

    def look(self, stream: str | None) -> dict[str, Any]:
        """The quality now, or as it was moments ago."""
        kept = self._of(stream)
        with kept.lock:
            if not kept.found or kept.pace.is_due:
                started = time.monotonic()
                if stream is None:
                    self._board.pairs()
                else:
                    kept.window.renew(_WINDOW_S)
                kept.found = self._measure(stream, list(kept.window))
                kept.pace.took(time.monotonic() - started)
            return {**kept.found, "cost": self._cost(stream)}

    def _of(self, stream: str | None) -> _Kept:
        with self._lock:
            if stream not in self._kept:
                self._kept[stream] = _Kept(self._board.window if stream is None else Window(self._store, stream))
            self._kept.move_to_end(stream)
            while len(self._kept) > _STREAMS:
                self._kept.popitem(last=False)
            return self._kept[stream]

    def _measure(self, stream: str | None, pairs: Sequence[RecentPair]) -> dict[str, Any]:
        measured = Quality()
        for pair in pairs:
            measured.add(pair)
        _add_calls(measured, pairs)
        self._add_without_pair(measured, pairs)
        return {
            "stream": stream,
            "window": len(pairs),
            "histograms": histograms(pairs),
            "first_position": first_position(pairs),
            "length": _lengths(measured),
            "policies": [
                {"name": policy if stream is not None else f"{of}: {policy}", **tally.figures()}
                for (of, policy), tally in sorted(measured.tallies.items())
            ],
            "gate": self._gates(stream),
            "judges": judges(pairs),
        }

    def _add_without_pair(self, measured: Quality, pairs: Sequence[RecentPair]) -> None:
        """Prompts that ended without a pair while the window's pairs were resolved; to the stream's main policy."""
        main: dict[str, tuple[str, PolicyTotals]] = {}
        for (stream, policy), tally in measured.tallies.items():
            if stream not in main or tally.pairs > main[stream][1].pairs:
                main[stream] = (policy, tally)
        first: dict[str, tuple[int, float]] = {}
        for pair in pairs:
            prompt, at = first.get(pair.stream, (pair.prompt, pair.resolved_at))
            first[pair.stream] = (min(prompt, pair.prompt), min(at, pair.resolved_at))
        with self._store.reading() as transaction:
            for stream, (prompt, at) in first.items():
                connection = transaction.ledger.connection
                main[stream][1].without_pair = ended_without_pair(connection, stream, at, prompt)

    def _gates(self, stream: str | None) -> list[dict[str, Any]]:
        """What each gate spent over all its pairs, and its audit."""
        with self._store.reading() as transaction:
            snapshot = self._learnt.newest(transaction)
            rows = gate_figures(transaction.ledger.connection, stream)
        return [
            {
                "stream": row.stream,
                "pairs": row.seen,
                "judged_share": row.judged / row.seen if row.seen else None,
                "label_error": asdict(snapshot.audits[row.stream]) if row.stream in snapshot.audits else None,
            }
            for row in rows
        ]

    def _cost(self, stream: str | None) -> dict[str, Any]:
        if stream is not None:  # calls are not told apart by stream
            return {}
        return self._board.cost()


def histograms(pairs: Sequence[RecentPair]) -> dict[str, Any]:
    """How the pairs are distributed. What lies beyond the last edge is counted in the last bucket."""
    values: dict[str, list[float]] = {name: [] for name in EDGES}
    for pair in pairs:
        for name in ("gap", "information", "kinship", "likeness", "novelty"):
            value = getattr(pair, name)
            if value is not None:
                values[name].append(value)
        long, short = max(pair.length_a, pair.length_b), min(pair.length_a, pair.length_b)
        values["length_ratio"].append(long / max(1, short) if long else 1.0)
        if pair.outcome == "decisive" and pair.probability is not None:
            values["probability"].append(max(pair.probability, 1.0 - pair.probability))
    found = {}
    for name, edges in EDGES.items():
        within = np.clip(values[name], edges[0], edges[-1])
        found[name] = {"edges": list(edges), "counts": np.histogram(within, edges)[0].tolist()}
    return found


def judges(pairs: Sequence[RecentPair]) -> list[dict[str, Any]]:
    """Each judge over the window's pairs."""
    verdicts: dict[str, list[Any]] = defaultdict(list)
    for pair in pairs:
        for opinion in pair.opinions:
            verdicts[opinion.judge].append(opinion)
    shares = {one["judge"]: one["share"] for one in first_position(pairs)}
    alike, _all = agreement(pairs)
    found = []
    for judge, opinions in sorted(verdicts.items()):
        valid = [one.probability for one in opinions if one.probability is not None]
        same, both = alike.get(judge, (0, 0))
        metered = [one.tokens for one in opinions if one.tokens is not None]
        found.append(
            {
                "judge": judge,
                "verdicts": len(opinions),
                "failed": len(opinions) - len(valid),
                "first_share": shares.get(judge),
                "tie_share": sum(abs(p - 0.5) <= TIE_MARGIN for p in valid) / len(valid) if valid else None,
                "agreement": same / both if both else None,
                "tokens": sum(metered) if metered else None,
            }
        )
    return found


def _lengths(measured: Quality) -> list[dict[str, Any]]:
    start = 1.0
    rows = []
    for end, bucket in zip(LENGTH_RATIOS, measured.lengths["judge"], strict=True):
        low, high = wilson(bucket.longer, bucket.pairs) if bucket.pairs else (None, None)
        rows.append(
            {
                "from": start,
                "to": None if np.isinf(end) else end,
                "pairs": bucket.pairs,
                "longer": bucket.longer / bucket.pairs if bucket.pairs else None,
                "low": low,
                "high": high,
                "expected": bucket.expected / bucket.pairs if bucket.pairs else None,
            }
        )
        start = end
    return rows


def _add_calls(measured: Quality, pairs: Iterable[RecentPair]) -> None:
    for pair in pairs:
        tally = measured.tallies[pair.stream, pair.policy]
        for opinion in pair.opinions:
            tally.calls += 1
            if opinion.tokens is not None:
                tally.tokens += opinion.tokens
                tally.metered += 1
