"""Juries whose members are not independent: a case of `hard_cases`."""

from __future__ import annotations

import numpy as np

from karma.ranking.snapshot import Snapshot
from karma.store.pair_quality import PairQuality
from karma.store.records import PairRecord, PairRow, VerdictRow
from karma.verdicts import resolve
from karma_monitor.figures.judges import judges
from tests.benchmarks.finding import Finding

_COPIED = 0.95  # share of its verdicts that a copy takes over


def jury(pairs: int, seed: int, copied: bool) -> tuple[PairQuality, float]:
    """Judges `a` and `b`, right in 70 % of pairs, and `best` in 85 %; b may copy a. Also the share of right labels."""
    rng, quality, right = np.random.default_rng(seed), PairQuality(), []
    for number in range(pairs):
        truth = rng.random() < 0.5
        sides = {name: truth == (rng.random() < chance) for name, chance in (("a", 0.7), ("b", 0.7), ("best", 0.85))}
        if copied and rng.random() < _COPIED:
            sides["b"] = sides["a"]
        verdicts = [VerdictRow(number, name, 0, 0.9 if side else 0.1, None) for name, side in sides.items()]
        resolution = resolve(verdicts)
        right.append(resolution.a_is_chosen == truth)
        none = (None,) * 5
        pair = PairRow(number, number, 0, 1, "x", "y", "random", 0, 1, 1.0, *none, 0.5, None, 9, 9, None, None)
        quality.add(
            PairRecord(
                pair=pair,
                stream="s",
                outcome=resolution.outcome,
                a_is_chosen=resolution.a_is_chosen,
                probability=resolution.probability,
                label_source="judge",
                resolved_at=1.0,
                verdicts=verdicts,
            )
        )
    return quality, float(np.mean(right))


def agreements(pairs: int = 10_000) -> list[Finding]:
    """What each agreement says of each judge, beside how often that judge is right."""
    found = []
    for copied in (False, True):
        quality, right = jury(pairs, 1, copied)
        name = "two copies and a better judge" if copied else "three independent judges"
        found.append(Finding("jury", f"{name}: right labels", right, 0.85, (right * (1 - right) / pairs) ** 0.5))
        for one in judges(quality, Snapshot.empty()):
            accuracy = 0.85 if one["judge"] == "best" else 0.7
            for figure, of in (
                ("agreement", "agreements_compared"),
                ("label_agreement", "label_compared"),
                ("others_agreement", "others_compared"),
            ):
                share, number = one[figure], one[of]
                error = (share * (1 - share) / number) ** 0.5
                found.append(Finding("jury", f"{name}: {figure} of {one['judge']}", share, accuracy, error))
    return found
