"""Similarity of responses: near-duplicates by their words, similarity by quality and complexity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Share of common three-word shingles from which on two texts are near-duplicates.
DUPLICATE_THRESHOLD = 0.9


def near_duplicates(texts: Sequence[str], threshold: float = DUPLICATE_THRESHOLD) -> set[tuple[int, int]]:
    """The pairs (x, y), x < y, of near-duplicate texts. A preference between such texts carries no information.

    Texts that differ only in case and white space are near-duplicates. So are texts that contain the same numbers and
    whose three-word shingles have a Jaccard similarity (Broder 1997, "On the resemblance and containment of documents")
    of at least `threshold`. Numbers must agree because a long derivation with a different result is a different answer.
    """
    texts_read = [_Text(text.casefold().split()) for text in texts]
    duplicates = set()
    by_length = sorted(range(len(texts)), key=lambda index: len(texts_read[index].words))
    for rank, short in enumerate(by_length):
        for long in by_length[rank + 1 :]:
            if len(texts_read[short].words) < threshold * len(texts_read[long].words):
                break  # the following texts are even longer
            if _same(texts_read[short], texts_read[long], threshold):
                duplicates.add((min(short, long), max(short, long)))
    return duplicates


class _Text:
    """The words of a text, with their sets made when first needed."""

    def __init__(self, words: list[str]) -> None:
        self.words = words

    @cached_property
    def vocabulary(self) -> set[str]:
        return set(self.words)

    @cached_property
    def shingles(self) -> set[tuple[str, ...]]:
        return set(zip(self.words, self.words[1:], self.words[2:], strict=False))

    def numbers(self) -> set[str]:
        return {word for word in self.vocabulary if any(character.isdigit() for character in word)}


def _same(a: _Text, b: _Text, threshold: float) -> bool:
    if a.words == b.words:
        return True
    # A word of only one text is in a shingle of only that text, and at this Jaccard similarity at most `bound` shingles
    # differ. So most pairs need no shingles.
    bound = (1.0 - threshold) / (1.0 + threshold) * (len(a.words) + len(b.words))
    if bound < 1.0 or len(a.vocabulary ^ b.vocabulary) > bound:
        return False
    shared = len(a.shingles & b.shingles)
    if shared < threshold * (len(a.shingles) + len(b.shingles) - shared):
        return False
    return a.numbers() == b.numbers()


def similarity(qualities: Sequence[float | None], features: Sequence[Mapping[str, float]]) -> Array:
    """Similarity of n responses in quality and complexity, shape (n, n), in [0, 1]; 1 for equal ones; symmetric.

    The mean of two parts, or the only known part:
    - quality: e^{−|difference of the scores|}; known where both responses have a score;
    - complexity: 1 minus the mean Canberra distance |x − y| / (|x| + |y|) (Lance & Williams 1967) over the features
      that both have (length, structure…), so that a feature's unit does not matter.
    If neither is known, it is 1.
    """
    scores = np.array(qualities, dtype=float)  # NaN where there is none
    names = sorted({name for known in features for name in known})
    values = np.array([[known.get(name, np.nan) for name in names] for known in features]).reshape(len(features), -1)
    x, y = values[:, None, :], values[None, :, :]
    with np.errstate(invalid="ignore"):
        distance = np.where(x == y, 0.0, np.abs(x - y) / (np.abs(x) + np.abs(y)))
    shared = np.isfinite(distance).sum(axis=2)
    parts = np.stack(
        [
            np.exp(-np.abs(scores[:, None] - scores[None, :])),
            np.where(shared > 0, 1.0 - np.nansum(distance, axis=2) / np.maximum(shared, 1), np.nan),
        ]
    )
    known_parts = np.isfinite(parts).sum(axis=0)
    return cast(Array, np.where(known_parts > 0, np.nansum(parts, axis=0) / np.maximum(known_parts, 1), 1.0))
