"""Reads JSON of endpoints that do not keep to the standard, and texts wherever they stand in it."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import msgspec

_DEEPEST = 8
_TEXT_KEYS = (
    *("text", "thinking", "thought", "reasoning", "summary", "content", "message", "msg", "detail", "value", "parts"),
    *("reasoning_content", "reasoningContent", "reasoningText"),
)


def decode(body: bytes) -> Any:
    """The value in a body; None if it is no JSON.

    Comment lines before it (`: OPENROUTER PROCESSING`, sent to keep the connection open), a byte order mark, NaN, lone
    surrogates, control characters within texts, single bytes that are not UTF-8, and whatever follows are accepted. An
    integer of more digits than Python converts becomes infinite.
    """
    body = after_comments(body)
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            text = body.decode(json.detect_encoding(body), "replace")
            return _lenient.raw_decode(text)[0]
        except (ValueError, RecursionError):
            return None


def after_comments(body: bytes) -> bytes:
    """The body after a byte order mark, white space, and comment lines."""
    body = body.removeprefix(b"\xef\xbb\xbf")
    comments = _COMMENTS.match(body)
    return body[comments.end() :] if comments else body


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MOST_DIGITS else math.inf


_COMMENTS = re.compile(rb"\s*(?::[^\n]*(?:\n\s*|\Z))*")
_MOST_DIGITS = 4000  # Python refuses to convert more than 4,300
_lenient = json.JSONDecoder(strict=False, parse_int=_integer)


def deep_text(value: Any, depth: int = 0) -> str:
    """The texts in a value, joined: of a text itself, of a list, or of an object under a key that holds a text."""
    if isinstance(value, str):
        return value
    if depth < _DEEPEST and isinstance(value, list):
        return "".join(deep_text(part, depth + 1) for part in value)
    if depth < _DEEPEST and isinstance(value, dict):
        return next(filter(None, (deep_text(value.get(key), depth + 1) for key in _TEXT_KEYS)), "")
    return ""
