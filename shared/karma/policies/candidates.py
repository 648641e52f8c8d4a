"""What a matching policy chooses from: the responses to one prompt and the pairs of them that are allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from karma.policies.similarity import likeness
from karma.ranking.snapshot import PairTable, Snapshot


@dataclass(frozen=True)
class Candidate:
    """One usable response to the prompt."""

    response_id: int
    model: str
    sample: int
    text: str
    quality: float | None  # by a checker or a reward model; None where neither applies
    features: Mapping[str, float]  # of complexity: length, structure, lexical variety


@dataclass(frozen=True)
class Choice:
    """What a policy chose: the place of a pair in `Pool.pairs`."""

    pair: int
    probability: float  # that this pair was to be among the chosen, over all seeds
    why: str


@dataclass(frozen=True, eq=False)
class Pool:
    """What a policy chooses from: pairs (x, y), x < y, of places in `candidates`, all of them allowed.

    Candidates stand in the order of their ids, so that what is drawn does not depend on the order of arrival.
    """

    candidates: tuple[Candidate, ...]
    pairs: list[tuple[int, int]]
    snapshot: Snapshot
    skill: str | None

    def values(self, table: PairTable) -> list[float]:
        """A table of the snapshot, looked up for every pair."""
        rows = self.snapshot.matrix(table, [candidate.model for candidate in self.candidates], self.skill).tolist()
        return [rows[x][y] for x, y in self.pairs]

    def qualities(self) -> list[float]:
        """The candidates' quality; if any of them has none, their models' competency for all (one scale for all)."""
        scores = [candidate.quality for candidate in self.candidates]
        known = [score for score in scores if score is not None]
        if len(known) == len(scores):
            return known
        models = [candidate.model for candidate in self.candidates]
        return cast(list[float], self.snapshot.vector("mean", models, self.skill).tolist())

    def between_models(self) -> list[int]:
        """The places of the pairs of two different models; of all pairs where there is none."""
        names = [candidate.model for candidate in self.candidates]
        different = [place for place, (x, y) in enumerate(self.pairs) if names[x] != names[y]]
        return different or list(range(len(self.pairs)))

    def likeness(self, pair: int) -> float:
        """Likeness of a pair's responses in quality and complexity, in [0, 1]."""
        x, y = self.pairs[pair]
        return self._likenesses[x][y]

    @cached_property
    def _likenesses(self) -> list[list[float]]:
        # So that there is at least one feature, the length of the text is one.
        features = [{"text_characters": len(candidate.text), **candidate.features} for candidate in self.candidates]
        found = likeness([candidate.quality for candidate in self.candidates], features)
        return cast(list[list[float]], found.tolist())
