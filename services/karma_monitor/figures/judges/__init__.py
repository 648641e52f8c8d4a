"""Figures of judges: position, length, self-preference, agreement, weight; None where nothing was counted."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from karma.ranking.jury import Jury
from karma.ranking.self_preference import SelfPreference
from karma.ranking.snapshot import Snapshot
from karma.store.pair_quality import JudgeQuality, PairQuality
from karma_monitor.figures.intervals import ratio, wilson
from karma_monitor.figures.judges.length import length_bias


def judges(quality: PairQuality, snapshot: Snapshot) -> list[dict[str, Any]]:
    """The figures of each judge; self-preference and weight are of the newest refit, whatever pairs are measured."""
    return [
        {
            "judge": name,
            **_judge(sums),
            "self_preference": _self_preference(snapshot.self_preference.get(name)),
            "jury": jury_figures(snapshot.jury).get(name),
        }
        for name, sums in sorted(quality.judges.items())
    ]


def jury_figures(jury: Jury) -> dict[str, dict[str, Any]]:
    """What the word of each judge counts for, beside those that share its pairs; nothing with one judge."""
    return {
        name: {**asdict(known), "overlap": dict(known.overlap)}
        for name, known in sorted(jury.judges.items(), key=lambda each: (-each[1].weight, each[0]))
    }


def _self_preference(known: SelfPreference | None) -> dict[str, Any] | None:
    """None for a judge without a model of its own in the pool; its `excess` is None while it is unknown."""
    return None if known is None else {**asdict(known), "low": known.low, "high": known.high}


def _position(sums: JudgeQuality) -> dict[str, Any]:
    sided = sums.first + sums.second
    low, high = wilson(sums.first, sided) if sided else (None, None)
    return {"first_share": ratio(sums.first, sided), "first_low": low, "first_high": high, "sided": sided}


def _judge(sums: JudgeQuality) -> dict[str, Any]:
    """The figures of one judge.

    Three agreements, each with its number of pairs and None with fewer than two judges: `agreement` with each other
    judge, `label_agreement` with the label, which holds its own vote, and `others_agreement` with the label that the
    other judges alone would give.
    """
    return {
        "verdicts": sums.verdicts,
        "failed": sums.failed,
        "both_orders": sums.both_orders,
        "flipped": sums.flipped,
        "flip_share": ratio(sums.flipped, sums.both_orders),
        **_position(sums),
        "tie_share": ratio(sums.ties, sums.verdicts - sums.failed),
        "agreement": ratio(sums.agreed, sums.compared),
        "agreements_compared": sums.compared,
        "label_agreement": ratio(sums.label_agreed, sums.label_compared),
        "label_compared": sums.label_compared,
        "others_agreement": ratio(sums.others_agreed, sums.others_compared),
        "others_compared": sums.others_compared,
        "longer_wins": ratio(sums.longer, sums.longer + sums.shorter),
        "longer_expected": ratio(sums.longer_expected, sums.longer + sums.shorter),
        "length_bias": length_bias(sums),
        "tokens": sums.tokens if sums.metered else None,
    }


def first_position(quality: PairQuality) -> list[dict[str, Any]]:
    """How often each judge prefers the response shown first, over pairs judged in both orders; 95 % interval."""
    return [
        {"judge": name, "share": one["first_share"], "low": one["first_low"], "high": one["first_high"], "n": n}
        for name, sums in sorted(quality.judges.items())
        if (n := (one := _position(sums))["sided"])
    ]
