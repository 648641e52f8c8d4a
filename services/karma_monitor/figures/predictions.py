"""What is known of predictions: the limits on the label error, and the probabilities near 1."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from karma.ranking.snapshot import Snapshot


def label_limit_of(snapshot: Snapshot, stream: str) -> dict[str, Any] | None:
    """The limit on a stream's label error with its reason in words; None without one."""
    known = snapshot.label_limits.get(stream)
    return None if known is None else {**asdict(known), "reason": known.reason()}


def label_tail_of(snapshot: Snapshot, stream: str) -> list[dict[str, Any]]:
    """The bins of a stream's predicted labels with a probability above .8."""
    return [each.data() for each in snapshot.label_tails.get(stream, ())]


def predictions(snapshot: Snapshot) -> dict[str, Any]:
    """All of it, by stream, and the bins of P(win) by competency."""
    return {
        "label_limits": {stream: label_limit_of(snapshot, stream) for stream in sorted(snapshot.label_limits)},
        "label_tails": {stream: label_tail_of(snapshot, stream) for stream in sorted(snapshot.label_tails)},
        "win_tail": [each.data() for each in snapshot.win_tail],
    }


def described(found: dict[str, Any]) -> list[str]:
    """The lines of `karma status`: limits, and the bins that do not hold."""
    limits = [f"max_label_error of {stream}: {one['reason']}" for stream, one in found["label_limits"].items()]
    bins = [(f"predicted labels of {stream}", each) for stream, tail in found["label_tails"].items() for each in tail]
    bins += [("P(win) by competency", each) for each in found["win_tail"]]
    return limits + [
        f"{what}: P {each['low']:g} to {each['high']:g} is unreliable: "
        f"{each['stated']:.1%} wrong are stated, {each['observed']:.1%} are observed"
        for what, each in bins
        if each["state"] == "unreliable"
    ]
