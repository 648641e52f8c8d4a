"""Sums over preferences: lengths, quality and competency of the chosen responses beside the rejected ones.

What a model learns from pairs is bounded by the quality of the chosen responses ("What matters in data for DPO?", 2025,
arXiv 2508.18312), and length is learned where the chosen response is mostly the longer one.
"""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from karma.store.records import PairRecord

#: (stream, label source) → the sums over its preferences.
ByStream = Mapping[tuple[str, str], "PreferenceQuality"]


def log_ratio(chosen: int, rejected: int) -> float:
    """ln(chosen / rejected length), in characters; an empty response counts as one character."""
    return math.log(max(1, chosen) / max(1, rejected))


@dataclass
class PreferenceQuality:
    """Sums over some preferences. Lengths are characters of the answers, without reasoning."""

    preferences: int = 0
    longer: int = 0  # the chosen response is the longer one
    shorter: int = 0
    log_ratios: array[float] = field(default_factory=lambda: array("d"))  # of each preference
    scored: int = 0  # preferences of which both responses have a quality of their own
    chosen_quality: float = 0.0  # sums over these
    rejected_quality: float = 0.0
    rated: int = 0  # preferences of which both models had a competency when the pair was formed
    chosen_competency: float = 0.0  # sums over these, logits in the prompt's skill
    rejected_competency: float = 0.0

    def add(self, record: PairRecord) -> None:
        """Add one decisive pair."""
        pair = record.pair
        sides = [
            (pair.length_a, pair.quality_a, pair.competency_a),
            (pair.length_b, pair.quality_b, pair.competency_b),
        ]
        chosen, rejected = sides if record.a_is_chosen else reversed(sides)
        self.preferences += 1
        self.longer += chosen[0] > rejected[0]
        self.shorter += chosen[0] < rejected[0]
        self.log_ratios.append(log_ratio(chosen[0], rejected[0]))
        if chosen[1] is not None and rejected[1] is not None:
            self.scored += 1
            self.chosen_quality += chosen[1]
            self.rejected_quality += rejected[1]
        if chosen[2] is not None and rejected[2] is not None:
            self.rated += 1
            self.chosen_competency += chosen[2]
            self.rejected_competency += rejected[2]


def preference_quality(records: Iterable[PairRecord]) -> dict[tuple[str, str], PreferenceQuality]:
    """The sums over the decisive ones of some pairs, by stream and label source."""
    found: defaultdict[tuple[str, str], PreferenceQuality] = defaultdict(PreferenceQuality)
    for record in records:
        if record.outcome == "decisive":
            found[record.stream, record.label_source or "judge"].add(record)
    return dict(found)
