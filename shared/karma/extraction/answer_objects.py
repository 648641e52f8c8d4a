"""The answer in a JSON object, such as `{"answer": "42", "confidence": 0.9}`."""

from __future__ import annotations

import json
import re
from typing import Any

_KEYS = frozenset({"answer", "finalanswer", "theanswer", "correctanswer"})
_OBJECT = re.compile(r'\{\s{0,200}"')
_BETWEEN_WORDS = re.compile(r"[\s_-]")
_MOST_OBJECTS = 8


class _Pairs(list[tuple[str, Any]]):
    """The keys and values of an object, in which a key may occur twice."""


_decoder = json.JSONDecoder(strict=False, object_pairs_hook=_Pairs, parse_int=str, parse_float=str, parse_constant=str)


def answer_in_object(text: str) -> tuple[str, int, int, bool] | None:
    """The answer of the last object that has one, the object's start and end, and whether it has no other answer."""
    last, begin = None, 0
    for _object in range(_MOST_OBJECTS):
        opening = _OBJECT.search(text, begin)
        if opening is None:
            break
        begin, found = opening.end(), pairs_at(text, opening.start())
        if found is not None:
            pairs, begin = found
            values = [_shown(value) for key, value in pairs if _BETWEEN_WORDS.sub("", key).lower() in _KEYS]
            if values:
                last = values[-1], opening.start(), begin, len(set(values)) == 1
    return last


def pairs_at(text: str, start: int) -> tuple[list[tuple[str, Any]], int] | None:
    """The keys and values of the object that starts there, numbers as text, and its end; None if it is no JSON."""
    try:
        found, end = _decoder.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return (found, end) if isinstance(found, _Pairs) else None


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
