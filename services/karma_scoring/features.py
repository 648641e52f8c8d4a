"""Features of a response that need no model: length, structure, lexical variety."""

from __future__ import annotations

import re
from itertools import islice

_WORD = re.compile(r"\w+")
_LIST_ITEM = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6}\s", re.MULTILINE)

#: Most words that count for the lexical variety; this bounds its cost.
_WORDS_READ = 2000


def features(text: str) -> dict[str, float]:
    """Measures of complexity of one response.

    Returns:
        `characters`, `words` and `sentences` (counts), `words_per_sentence`, `lexical_variety` (distinct words over
        the square root of words: Guiraud 1954; it depends less on length than the type–token ratio), `list_items`,
        `headings`, `code_blocks` (counts), `digit_share` and `capital_share` (of characters).
    """
    words = [match[0].lower() for match in islice(_WORD.finditer(text), _WORDS_READ)]
    word_count = len(text.split())
    sentences = max(1, text.count(".") + text.count("!") + text.count("?"))
    characters = len(text)
    return {
        "characters": float(characters),
        "words": float(word_count),
        "sentences": float(sentences),
        "words_per_sentence": round(word_count / sentences, 3),
        "lexical_variety": round(len(set(words)) / max(1, len(words)) ** 0.5, 3),
        "list_items": float(len(_LIST_ITEM.findall(text))),
        "headings": float(len(_HEADING.findall(text))),
        "code_blocks": float(text.count("```") // 2),
        "digit_share": round(sum(map(text.count, "0123456789")) / max(1, characters), 3),
        "capital_share": round(sum(1 for character in text if character.isupper()) / max(1, characters), 3),
    }
