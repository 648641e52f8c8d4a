"""Features of a response among the others to its prompt, for the outcome model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from karma.policies.candidates import Candidate
from karma.ranking.label_model import PairSigns
from karma.ranking.outcome_model import FEATURES

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

_MEASURED = FEATURES[:-3]  # measured by scoring, for each response separately
_ENDS = (".", "!", "?", ")", '"', "”", "`")
_WORDS_SEEN = 2000


Words = frozenset[str]


def words_of(text: str) -> Words:
    """The words of a text, in lower case; of a long one those at its beginning."""
    return frozenset(text.lower().split()[:_WORDS_SEEN])


def word_similarity(words: Sequence[Words]) -> Array:
    """The Jaccard similarity of the words of n responses, [n, n], in [0, 1]; 0 on the diagonal."""
    similarity = np.zeros((len(words), len(words)))
    for x, own in enumerate(words):
        for y in range(x):
            shared = len(own & words[y])
            similarity[x, y] = similarity[y, x] = shared / max(1, len(own) + len(words[y]) - shared)
    return similarity


def signs(similarity: Array, first: Indices, second: Indices, likeness: Sequence[float]) -> PairSigns:
    """The signs of n pairs of one prompt's responses, by which ties are foreseen.

    Args:
        similarity: of the words of the prompt's usable responses, [m, m] (`word_similarity`).
        first: places of the pairs' responses a, [n].
        second: of b, [n].
        likeness: of the pairs, n.
    """
    third = np.tile(similarity, (len(first), 1, 1))
    pair = np.arange(len(first))
    third[pair, first, second] = third[pair, second, first] = 0.0
    return PairSigns(
        likeness=np.array(likeness, dtype=np.float64),
        agreement=similarity[first, second],
        support_a=third[pair, first].max(axis=1),
        support_b=third[pair, second].max(axis=1),
    )


def stored_signs(seen: PairSigns) -> list[dict[str, Any]]:
    """The signs of each pair as they are stored with its reasons, beside the likeness."""
    agreement, *support = (np.round(column, 4).tolist() for column in (seen.agreement, seen.support_a, seen.support_b))
    return [{"agreement": one, "support": [a, b]} for one, a, b in zip(agreement, *support, strict=True)]


def relative_features(candidates: Sequence[Candidate], words: Sequence[Words], prompt: str, similarity: Array) -> Array:
    """The features of n responses to one prompt, [n, F], in the order of `FEATURES`; a pair's are a difference of rows.

    Counts and shares enter as log(1 + x), so that the tenth list item counts less than the first. Three features are
    relative: `agreement`, the mean Jaccard similarity of the response's words to those of the others; `prompt_overlap`,
    the share of the prompt's words that it repeats; `finished`, whether it ends like a sentence.

    Args:
        candidates: the prompt's usable responses, n.
        words: theirs (`words_of`).
        prompt: its text.
        similarity: of the responses' words, [n, n] (`word_similarity`).
    """
    rows = np.zeros((len(candidates), len(FEATURES)))
    prompt_words = words_of(prompt)
    for row, candidate in enumerate(candidates):
        measured = [max(0.0, candidate.features.get(name, 0.0)) for name in _MEASURED]
        rows[row, : len(measured)] = np.log1p(measured)
        rows[row, -2] = len(words[row] & prompt_words) / max(1, len(prompt_words))
        rows[row, -1] = candidate.text.rstrip().endswith(_ENDS)
    rows[:, -3] = similarity.sum(axis=1) / max(1, len(candidates) - 1)
    return rows
