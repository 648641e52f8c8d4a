"""Limits on the label error in a refit: the ceilings of the snapshot, from stored pairs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import numpy as np

from karma.ranking.label_error import Audited
from karma.ranking.label_error_change import since_change
from karma.ranking.label_limit import Calibrating, LabelLimit, label_limit
from karma.ranking.outcome_model import UNPREDICTED

#: Most judged pairs behind a ceiling: the newest.
CALIBRATING = 10_000


def calibrating_of(rows: Iterable[tuple[float, bool, int, str]]) -> list[Calibrating]:
    """Stored pairs, newest first; without those that were judged because nothing could be predicted."""
    read = [(row, json.loads(row[3])) for row in rows]
    return [
        Calibrating(*row[:3], float(reasons["gate_information"]))
        for row, reasons in read
        if "gate_information" in reasons and reasons.get("gate") != UNPREDICTED
    ]


def present_limit(calibrating: Sequence[Calibrating], limit: float) -> LabelLimit:
    """The ceiling under a limit on the label error, by the pairs since that error last changed.

    The error may change among the audited pairs, or between them and the pairs that were judged for certain before. The
    latter are compared where information is low: there both are a fair sample of all pairs.

    Args:
        calibrating: newest first.
        limit: share of wrong labels.
    """
    audits = [place for place, pair in enumerate(calibrating) if pair.probability < 1.0]
    if not audits:
        return label_limit(calibrating, limit)
    low = float(np.median([calibrating[place].information for place in audits]))
    alike = [place for place, pair in enumerate(calibrating) if pair.information <= low]
    end = len(calibrating)
    for places, probability in ((audits, None), (alike, 0.5)):
        rows = [calibrating[place] for place in reversed(places)]
        present = since_change([Audited(probability or row.probability, row.wrong, row.prompt) for row in rows])
        if len(present) < len(places):
            end = min(end, places[len(present) - 1] + 1)
    return label_limit(calibrating[:end], limit)
