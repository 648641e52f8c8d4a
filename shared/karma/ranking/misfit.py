"""Misfit: pairs of models whose verdicts one competency per model cannot explain, as part of a snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class MisfitPair:
    """Two models whose verdicts contradict their competencies, as in rock–paper–scissors."""

    model_a: str
    model_b: str
    observed: float  # share of the decisive verdicts that `model_a` won
    expected: float  # the same by the competencies
    z: float  # observed less expected score, in standard deviations
    excess: float  # logits: the gap by the pair's own verdicts less that of the competencies

    def reversed(self) -> MisfitPair:
        """The same as seen from `model_b`."""
        return MisfitPair(self.model_b, self.model_a, 1.0 - self.observed, 1.0 - self.expected, -self.z, -self.excess)


@dataclass(frozen=True)
class PairFit:
    """How well the competencies explain the verdicts on all pairs of models."""

    misfit: tuple[MisfitPair, ...] = ()  # the largest |z| first
    p_value: float | None = None  # of the goodness-of-fit χ² over all pairs; None where too few could be tested

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> PairFit:
        """The result from its fields as plain data; absent ones have their defaults, as in earlier snapshots."""
        return cls(tuple(MisfitPair(**pair) for pair in plain.get("misfit", ())), plain.get("p_value"))
