"""JSON objects in a text, such as `{"answer": "42", "confidence": 0.9}`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_KEYS = frozenset({"answer", "finalanswer", "theanswer", "correctanswer"})
_OBJECT = re.compile(r'\{\s{0,200}"')
_BETWEEN_WORDS = re.compile(r"[\s_-]")
_MOST_OBJECTS = 8


#: The keys and values of an object, in which a key may occur twice; numbers as text.
Pairs = list[tuple[str, Any]]


class _Pairs(Pairs):
    """The keys and values of an object, apart from an array's values."""


_decoder = json.JSONDecoder(strict=False, object_pairs_hook=_Pairs, parse_int=str, parse_float=str, parse_constant=str)


def objects(text: str) -> Iterator[tuple[int, int, Pairs]]:
    """The start, end, keys and values of the first objects of a text, but of none within another."""
    begin = 0
    for _object in range(_MOST_OBJECTS):
        opening = _OBJECT.search(text, begin)
        if opening is None:
            return
        begin = opening.end()
        try:
            found, end = _decoder.raw_decode(text, opening.start())
        except (ValueError, RecursionError):
            continue
        if isinstance(found, _Pairs):
            yield opening.start(), end, found
            begin = end


def answer_in_object(text: str) -> tuple[str, int, int, bool] | None:
    """The answer of the last object that has one, the object's start and end, and whether it has no other answer."""
    last = None
    for start, end, pairs in objects(text):
        values = [_shown(value) for key, value in pairs if _BETWEEN_WORDS.sub("", key).lower() in _KEYS]
        if values:
            last = values[-1], start, end, len(set(values)) == 1
    return last


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
