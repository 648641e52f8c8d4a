"""The input of pairing: the responses to one prompt, and the pairs of them that are allowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from karma.policies.sampling import Drawn
from karma.policies.similarity import similarity
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
    """A chosen pair."""

    pair: int  # its index in `Candidates.pairs`
    probability: float  # of this pair being among the chosen, over all seeds
    why: str


Chosen = tuple[list[Choice], str]  # the choices, and the reason where there is none


@dataclass(frozen=True, eq=False)
class Candidates:
    """The responses to one prompt and the allowed pairs (x, y), x < y, of indices into `candidates`.

    Candidates are in the order of their ids, so a draw does not depend on the order of arrival.
    """

    candidates: tuple[Candidate, ...]
    pairs: list[tuple[int, int]]
    snapshot: Snapshot
    skill: str | None

    @cached_property
    def models(self) -> list[str]:
        """The candidates' models."""
        return [candidate.model for candidate in self.candidates]

    def values(self, table: PairTable) -> list[float]:
        """A table of the snapshot, looked up for every pair."""
        models = self.models
        return self.snapshot.values(table, [(models[x], models[y]) for x, y in self.pairs], self.skill)

    def qualities(self) -> list[float]:
        """The candidates' quality; for all of them their models' competency if any has no quality (one scale)."""
        known = [candidate.quality for candidate in self.candidates if candidate.quality is not None]
        if len(known) == len(self.candidates):
            return known
        return self.snapshot.means(self.models, self.skill)

    def between_models(self) -> list[int]:
        """Indices of the pairs of two different models; of all pairs if there is no such pair."""
        models = self.models
        different = [pair for pair, (x, y) in enumerate(self.pairs) if models[x] != models[y]]
        return different or list(range(len(self.pairs)))

    def similarity(self, pair: int) -> float:
        """Similarity of a pair's responses in quality and complexity, in [0, 1]."""
        a, b = (self.candidates[place] for place in self.pairs[pair])
        return similarity(a.quality, b.quality, _measures(a), _measures(b))

    likeness = similarity  # its former name, for plug-ins; removed in the next version

    @staticmethod
    def chosen(drawn: Drawn, among: Sequence[int], why: str) -> Chosen:
        """The result of a policy that drew from some of the pairs; `drawn` contains indices into `among`."""
        return [Choice(among[index], chance, why) for index, chance in drawn], ""


def _measures(candidate: Candidate) -> dict[str, float]:
    """The features, with the length of the text: there is at least one."""
    return {"text_characters": len(candidate.text), **candidate.features}
