"""Features of a response among the others to its prompt, for the outcome model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from karma.policies.candidates import Candidate
from karma.ranking.outcome_model import FEATURES

Array = NDArray[np.float64]

_MEASURED = FEATURES[:-3]  # measured by scoring, for each response separately
_ENDS = (".", "!", "?", ")", '"', "”", "`")
_WORDS_SEEN = 2000


def relative_features(candidates: Sequence[Candidate], prompt: str) -> Array:
    """The features of n responses to one prompt, [n, F], in the order of `FEATURES`; a pair's are a difference of rows.

    Counts and shares enter as log(1 + x), so that the tenth list item counts less than the first. Three features are
    relative: `agreement`, the mean Jaccard similarity of the response's words to those of the others; `prompt_overlap`,
    the share of the prompt's words that it repeats; `finished`, whether it ends like a sentence.
    """
    rows = np.zeros((len(candidates), len(FEATURES)))
    words = [frozenset(candidate.text.lower().split()[:_WORDS_SEEN]) for candidate in candidates]
    prompt_words = frozenset(prompt.lower().split()[:_WORDS_SEEN])
    similarity = np.zeros((len(words), len(words)))
    for x, own in enumerate(words):
        for y in range(x):
            shared = len(own & words[y])
            similarity[x, y] = similarity[y, x] = shared / max(1, len(own) + len(words[y]) - shared)
    for row, candidate in enumerate(candidates):
        measured = [max(0.0, candidate.features.get(name, 0.0)) for name in _MEASURED]
        rows[row, : len(measured)] = np.log1p(measured)
        rows[row, -2] = len(words[row] & prompt_words) / max(1, len(prompt_words))
        rows[row, -1] = candidate.text.rstrip().endswith(_ENDS)
    rows[:, -3] = similarity.sum(axis=1) / max(1, len(words) - 1)
    return rows
