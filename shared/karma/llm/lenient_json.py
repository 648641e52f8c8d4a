"""Reads JSON of endpoints that do not keep to the standard, and texts wherever they stand in it."""

from __future__ import annotations

import json
from typing import Any

import msgspec

_DEEPEST = 8


def decode(body: bytes) -> Any:
    """The value in a body; None if it is no JSON.

    Comment lines before it (`: OPENROUTER PROCESSING`, sent to keep the connection open), a byte order mark, NaN and
    lone surrogates are accepted.
    """
    body = body.removeprefix(b"\xef\xbb\xbf").lstrip()
    while body.startswith(b":"):
        body = body.partition(b"\n")[2].lstrip()
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            return None


def deep_text(value: Any, depth: int = 0) -> str:
    """The texts in a value, joined: of a text itself, of a list, or of an object under a key that holds a text."""
    if isinstance(value, str):
        return value
    if depth < _DEEPEST and isinstance(value, list):
        return "".join(deep_text(part, depth + 1) for part in value)
    if depth < _DEEPEST and isinstance(value, dict):
        keys = ("text", "thinking", "reasoning", "summary", "content", "message", "msg", "detail")
        return next(filter(None, (deep_text(value.get(key), depth + 1) for key in keys)), "")
    return ""
