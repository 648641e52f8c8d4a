"""What the pairs that were resolved last say about the data: flips, ties, biases, and whether judges agree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

from karma.ranking.snapshot import Snapshot
from karma_monitor.figures.intervals import wilson
from karma_monitor.figures.window import RecentPair

#: |p − 0.5| within which a verdict takes no side, as in `karma_monitor.queries.pairs.judge_calls`.
TIE_MARGIN = 0.05


def quality(pairs: Sequence[RecentPair], snapshot: Snapshot) -> dict[str, Any]:
    """What the recent pairs say about the data."""
    both = flipped = ties = judged = decided = longer = differing = 0
    expected = 0.0
    for pair in pairs:
        judged += pair.judged
        ties += pair.outcome == "tie"
        if pair.flipped is not None:
            both, flipped = both + 1, flipped + pair.flipped
        if pair.outcome == "decisive" and pair.label_source == "judge":
            decided += 1
            if pair.length_a != pair.length_b:
                differing += 1
                a_is_longer = pair.length_a > pair.length_b
                longer += pair.chose_a == a_is_longer
                a_wins = 0.5 if pair.win_probability is None else pair.win_probability
                expected += a_wins if a_is_longer else 1.0 - a_wins
    number = len(pairs)
    return {
        "window": number,
        "flip_share": _ratio(flipped, both),
        "first_position": first_position(pairs),
        "tie_share": _ratio(ties, number),
        "longer_wins": _ratio(longer, differing),
        "longer_expected": _ratio(expected, differing),
        "label_error": worst_error(snapshot),
        "judged_share": _ratio(judged, number),
        "agreement": agreement(pairs)[1],
    }


def first_position(pairs: Iterable[RecentPair]) -> list[dict[str, Any]]:
    """How often each judge that sees both orders prefers what it is shown first, with the 95 % interval."""
    sides: dict[str, list[int]] = {}
    both_orders: set[str] = set()
    for pair in pairs:
        for opinion in pair.opinions:
            if opinion.shown == 1:
                both_orders.add(opinion.judge)
            if opinion.probability is not None and abs(opinion.probability - 0.5) > TIE_MARGIN:
                sides.setdefault(opinion.judge, [0, 0])[opinion.probability < 0.5] += 1
    found = []
    for judge in sorted(both_orders & sides.keys()):
        first, second = sides[judge]
        low, high = wilson(first, first + second)
        found.append({"judge": judge, "share": first / (first + second), "low": low, "high": high, "n": first + second})
    return found


def worst_error(snapshot: Snapshot) -> dict[str, Any] | None:
    """The audited error of the labels that no judge saw, of the stream where it is highest."""
    stream = max(snapshot.audits, key=lambda name: snapshot.audits[name].estimate, default=None)
    return None if stream is None else {"stream": stream, **asdict(snapshot.audits[stream])}


def agreement(pairs: Iterable[RecentPair]) -> tuple[dict[str, tuple[int, int]], float | None]:
    """How often judges take the same side of a pair.

    Returns:
        By judge: (same side, both took one) over all other judges of its pairs; and the share of all such twos of
        judges, None where no pair had two judges that took a side.
    """
    same: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    agreed = compared = 0
    for pair in pairs:
        if len(pair.opinions) < 2:
            continue
        sides = sides_of(pair)
        for one, other in combinations(sorted(sides), 2):
            alike = sides[one] == sides[other]
            agreed, compared = agreed + alike, compared + 1
            for judge in (one, other):
                same[judge][0] += alike
                same[judge][1] += 1
    return {judge: (found[0], found[1]) for judge, found in same.items()}, agreed / compared if compared else None


def sides_of(pair: RecentPair) -> dict[str, bool]:
    """The judges that took a side of a pair, both orders together: whether it was that of a."""
    found: dict[str, list[float]] = defaultdict(list)
    for opinion in pair.opinions:
        if opinion.for_a is not None:
            found[opinion.judge].append(opinion.for_a)
    means = {judge: sum(values) / len(values) for judge, values in found.items()}
    return {judge: mean > 0.5 for judge, mean in means.items() if abs(mean - 0.5) > TIE_MARGIN}


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
