"""Holds P(win) by competency against the verdicts that the competencies are fitted to, where it is near 1."""

from __future__ import annotations

import numpy as np

from karma.ranking.snapshot import Snapshot
from karma.ranking.tail import TailBin, win_tail
from karma_scoring.fit.evidence import Evidence


def calibrated_tail(seen: Evidence, known: Snapshot) -> tuple[TailBin, ...]:
    """The bins of P(win | decisive) above .8, from weighted counts; the buckets of a pair of models are summed up.

    Args:
        seen: the counts of the refit.
        known: its snapshot; counts of models that it lacks, such as former ones, are left out.
    """
    column = np.array([-1 if (index := known.index(name)) is None else index for name in seen.models], dtype=np.intp)
    counts = seen.counts
    if not len(counts.first):
        return ()
    first, second = column[counts.first], column[counts.second]
    shape = known.win.shape
    inside = (first >= 0) & (second >= 0)
    cell = np.ravel_multi_index((counts.skill[inside] + 1, first[inside], second[inside]), shape)
    won, lost = (
        np.bincount(cell, weights=wins[inside], minlength=known.win.size).astype(np.float64)
        for wins in (counts.wins_first, counts.wins_second)
    )
    return win_tail(known.win.ravel(), won, lost)
