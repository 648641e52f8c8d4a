"""Features of a response that need no model: length, structure, lexical variety."""

from __future__ import annotations

import re
from itertools import islice
from string import ascii_uppercase, digits

_WORD = re.compile(r"\w+")
_LIST_ITEM = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6}\s", re.MULTILINE)

#: Most words that count for the lexical variety; this bounds its cost.
_WORDS_READ = 2000
#: Characters up to which all words of a text are found at once, which is faster than one after the other.
_SHORT = 20_000

_DIGITS, _CAPITALS = digits.encode(), ascii_uppercase.encode()


def features(text: str) -> dict[str, float]:
    """Measures of complexity of one response.

    Returns:
        `characters`, `words` and `sentences` (counts), `words_per_sentence`, `lexical_variety` (distinct words over
        the square root of words: Guiraud 1954; it depends less on length than the type–token ratio), `list_items`,
        `headings`, `code_blocks` (counts), `digit_share` and `capital_share` (of characters).
    """
    words = _words(text)
    word_count = len(text.split())
    sentences = max(1, text.count(".") + text.count("!") + text.count("?"))
    characters = len(text)
    digit_count, capitals = _digits_and_capitals(text)
    return {
        "characters": float(characters),
        "words": float(word_count),
        "sentences": float(sentences),
        "words_per_sentence": round(word_count / sentences, 3),
        "lexical_variety": round(len(set(words)) / max(1, len(words)) ** 0.5, 3),
        "list_items": float(len(_LIST_ITEM.findall(text))),
        "headings": float(len(_HEADING.findall(text))) if "#" in text else 0.0,
        "code_blocks": float(text.count("```") // 2),
        "digit_share": round(digit_count / max(1, characters), 3),
        "capital_share": round(capitals / max(1, characters), 3),
    }


def _words(text: str) -> list[str]:
    """The first words in lower case."""
    if text.isascii() and len(text) <= _SHORT:
        return _WORD.findall(text.lower())[:_WORDS_READ]
    return [match[0].lower() for match in islice(_WORD.finditer(text), _WORDS_READ)]


def _digits_and_capitals(text: str) -> tuple[int, int]:
    """The numbers of ASCII digits, and of letters in upper case."""
    if text.isascii():
        encoded = text.encode()
        without_digits = encoded.translate(None, _DIGITS)
        without_both = without_digits.translate(None, _CAPITALS)
        return len(encoded) - len(without_digits), len(without_digits) - len(without_both)
    return sum(map(text.count, "0123456789")), sum(map(str.isupper, text))
