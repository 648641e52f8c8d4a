"""Figures of preferences: how chosen responses differ from rejected ones in length, quality and competency."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import nlargest
from itertools import pairwise
from statistics import median
from typing import Any

from karma.store.preference_quality import ByStream, PreferenceQuality
from karma.store.records import PairRecord
from karma_monitor.figures.intervals import ratio

Figures = dict[str, Any]

#: Most streams and label sources that are told apart: those with most preferences.
_MOST = 200
#: Parts of a window that are compared over time, and the fewest preferences of one.
_PARTS, _FEWEST = 8, 25


def preference_figures(sums: ByStream) -> list[Figures]:
    """The figures of each stream and label source (`judge` or `predicted`), in their order."""
    shown = nlargest(_MOST, sums, key=lambda key: sums[key].preferences)
    return [
        {"stream": stream, "label_source": source, **figures_of(sums[stream, source])}
        for stream, source in sorted(shown)
    ]


def figures_of(sums: PreferenceQuality) -> Figures:
    """The figures of some preferences; None where nothing was counted.

    - `longer_share`: chosen responses that are longer, of the preferences between unequal lengths.
    - `length_log_ratio_mean`, `length_log_ratio_median`: of ln(chosen / rejected length), in characters.
    - `chosen_quality`, `rejected_quality`: mean score of a checker or a reward model, over the `scored` preferences.
    - `chosen_competency`, `rejected_competency`: mean competency of the responses' models in the prompts' skills,
      logits, as known when the pairs were formed, over the `rated` preferences.
    """
    return {
        "preferences": sums.preferences,
        "longer_share": ratio(sums.longer, sums.longer + sums.shorter),
        "length_log_ratio_mean": ratio(sum(sums.log_ratios), sums.preferences),
        "length_log_ratio_median": median(sums.log_ratios) if sums.log_ratios else None,
        "scored": sums.scored,
        "chosen_quality": ratio(sums.chosen_quality, sums.scored),
        "rejected_quality": ratio(sums.rejected_quality, sums.scored),
        "rated": sums.rated,
        "chosen_competency": ratio(sums.chosen_competency, sums.rated),
        "rejected_competency": ratio(sums.rejected_competency, sums.rated),
    }


def over_time(records: Iterable[PairRecord]) -> list[Figures]:
    """The same of up to eight equal parts of some preferences, oldest first, with the times of the first and the last.

    A part has 25 preferences or more; fewer are one part.
    """
    decisive = [record for record in records if record.outcome == "decisive"]
    decisive.sort(key=lambda record: (record.resolved_at, record.pair.id))
    parts = max(1, min(_PARTS, len(decisive) // _FEWEST))
    bounds = [len(decisive) * part // parts for part in range(parts + 1)]
    slices = [decisive[start:end] for start, end in pairwise(bounds)]
    return [_part(each) for each in slices if each]


def _part(records: Sequence[PairRecord]) -> Figures:
    sums = PreferenceQuality()
    for record in records:
        sums.add(record)
    return {"from": records[0].resolved_at, "to": records[-1].resolved_at, **figures_of(sums)}
