"""Similarity of responses: near-duplicates by their words, similarity by quality and complexity.

A prompt has few responses. For a few numbers plain Python is several times as fast as arrays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property

#: Share of common three-word shingles from which on two texts are near-duplicates.
DUPLICATE_THRESHOLD = 0.9


def near_duplicates(texts: Sequence[str], threshold: float = DUPLICATE_THRESHOLD) -> set[tuple[int, int]]:
    """The pairs (x, y), x < y, of near-duplicate texts. A preference between such texts carries no information.

    Texts that differ only in case and white space are near-duplicates. So are texts that contain the same numbers and
    whose three-word shingles have a Jaccard similarity (Broder 1997, "On the resemblance and containment of documents")
    of at least `threshold`. Numbers must agree because a long derivation with a different result is a different answer.
    """
    duplicates = set()
    by_length = sorted(
        ((_Text(text.casefold().split()), index) for index, text in enumerate(texts)), key=lambda one: one[0].number
    )
    for rank, (short, x) in enumerate(by_length, start=1):
        for long, y in by_length[rank:]:
            if short.number < threshold * long.number:
                break  # the following texts are even longer
            if short.words == long.words or _nearly_same(short, long, threshold):
                duplicates.add((x, y) if x < y else (y, x))
    return duplicates


class _Text:
    """The words of a text, with their sets made when first needed."""

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self.number = len(words)

    @cached_property
    def vocabulary(self) -> set[str]:
        return set(self.words)

    @cached_property
    def shingles(self) -> set[tuple[str, ...]]:
        return set(zip(self.words, self.words[1:], self.words[2:], strict=False))

    def numbers(self) -> set[str]:
        return {word for word in self.vocabulary if any(character.isdigit() for character in word)}


def _nearly_same(a: _Text, b: _Text, threshold: float) -> bool:
    # A word of only one text is in a shingle of only that text, and at this Jaccard similarity at most `bound` shingles
    # differ. So most pairs need no shingles, and only the first words of a vocabulary.
    bound = (1.0 - threshold) / (1.0 + threshold) * (a.number + b.number)
    if bound < 1.0 or _lacks_more(a.vocabulary, b.vocabulary, bound) or len(a.vocabulary ^ b.vocabulary) > bound:
        return False
    shared = len(a.shingles & b.shingles)
    if shared < threshold * (len(a.shingles) + len(b.shingles) - shared):
        return False
    return a.numbers() == b.numbers()


def _lacks_more(some: set[str], others: set[str], bound: float) -> bool:
    """Whether more than `bound` of some words are not among others."""
    lacking = 0
    for word in some:
        if word not in others:
            lacking += 1
            if lacking > bound:
                return True
    return False


def similarity(
    quality_a: float | None, quality_b: float | None, features_a: Mapping[str, float], features_b: Mapping[str, float]
) -> float:
    """Similarity of two responses in quality and complexity, in [0, 1]; 1 for equal ones; symmetric.

    The mean of two parts, or the only known part:
    - quality: e^{−|difference of the scores|}; known where both responses have a score;
    - complexity: 1 minus the mean Canberra distance |x − y| / (|x| + |y|) (Lance & Williams 1967) over the features
      that both have (length, structure…), so that a feature's unit does not matter.
    If neither is known, it is 1.
    """
    parts = []
    if quality_a is not None and quality_b is not None:
        parts.append(math.exp(-abs(quality_a - quality_b)))
    distances = []
    for name, x in features_a.items():
        y = features_b.get(name)
        if y is not None:
            distance = 0.0 if x == y else abs(x - y) / (abs(x) + abs(y))
            if math.isfinite(distance):
                distances.append(distance)
    if distances:
        parts.append(1.0 - math.fsum(distances) / len(distances))
    known = [part for part in parts if math.isfinite(part)]
    return sum(known) / len(known) if known else 1.0
