"""What is known of predictions: the limits on the label error, and whether probabilities above .8 hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any

from karma.ranking.snapshot import Snapshot
from karma.ranking.tail import EDGES, TOLERANCE, TailBin, bin_of

Bin = dict[str, Any]


def label_limit_of(snapshot: Snapshot, stream: str) -> dict[str, Any] | None:
    """The limit on a stream's label error with its reason in words; None without one."""
    known = snapshot.label_limits.get(stream)
    return None if known is None else {**asdict(known), "reason": known.reason()}


def label_tail_of(snapshot: Snapshot, stream: str) -> list[Bin]:
    """The bins of a stream's predicted labels with a probability above .8."""
    return _every_bin(snapshot.label_tails.get(stream, ()))


def win_tail_of(snapshot: Snapshot) -> list[Bin]:
    """The bins of P(win) by competency above .8."""
    return _every_bin(snapshot.win_tail)


def win_bin_of(snapshot: Snapshot, probability: float | None) -> Bin | None:
    """The bin of one P(win) by competency; None where it is unknown or the side ahead has no more than .8."""
    edges = None if probability is None else bin_of(probability)
    return None if edges is None else next(one for one in win_tail_of(snapshot) if one["low"] == edges[0])


def _every_bin(known: Sequence[TailBin]) -> list[Bin]:
    """All bins, lowest first; one without a verdict is unknown, and has no errors."""
    by_edge = {one.low: one.data() for one in known}
    return [by_edge.get(low) or _without_verdicts(low, high) for low, high in pairwise(EDGES)]


def _without_verdicts(low: float, high: float) -> Bin:
    errors = dict.fromkeys(("stated", "observed", "observed_low", "observed_high"))
    return {"low": low, "high": high, **errors, "number": 0, "fitted": False, "state": "unknown", "why": "no verdicts"}


def predictions(snapshot: Snapshot) -> dict[str, Any]:
    """All of it, by stream, and the bins of P(win) by competency; no bins before the first refit."""
    return {
        "label_limits": {stream: label_limit_of(snapshot, stream) for stream in sorted(snapshot.label_limits)},
        "label_tails": {stream: label_tail_of(snapshot, stream) for stream in sorted(snapshot.label_tails)},
        "win_tail": win_tail_of(snapshot) if snapshot.version else [],
    }


def described(found: dict[str, Any]) -> list[str]:
    """The lines of `karma status`: limits, and which probabilities hold."""
    limits = [
        f"max_label_error of {stream}, {one['limit']:.1%}: {one['reason']}"
        for stream, one in found["label_limits"].items()
    ]
    labels = [tail_sentence(f"predicted labels of {stream}", bins) for stream, bins in found["label_tails"].items()]
    wins = [win_sentence(found["win_tail"])] if found["win_tail"] else []
    return [*limits, *labels, *wins]


def win_sentence(bins: Sequence[Bin]) -> str:
    """In which bins P(win) by competency holds."""
    return tail_sentence("win probabilities by competency", bins)


def tail_sentence(what: str, bins: Sequence[Bin]) -> str:
    """Whether the probabilities hold: the unreliable bins by name, and how many are reliable and unknown."""
    parts = [
        f"{one['low']:g} to {one['high']:g} unreliable ({one['stated']:.1%} expected to be wrong, "
        f"{one['observed']:.1%} are)"
        for one in bins
        if one["state"] == "unreliable"
    ]
    for state, meaning in (
        ("reliable", f"right within {100 * TOLERANCE:g} points"),
        ("unknown", "verdicts cannot tell yet"),
    ):
        number = sum(one["state"] == state for one in bins)
        parts += [f"{number} {state} ({meaning})"] if number else []
    return f"{what}, {len(bins)} ranges above {EDGES[0]:g}: {'; '.join(parts)}"
