"""JSON values of untrusted lines: strict parsing, and errors that say what was found."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

#: Digits of an integer. Python converts no more than 4,300, and most readers of an export far fewer.
_INTEGER_DIGITS = 1000
_SHOWN_CHARACTERS = 40
_SHOWN_FIELDS = 8


class RefusedError(ValueError):
    """A prompt is not valid; the text is the reason."""


def parse(content: bytes) -> Any:
    """The JSON value in a line; a leading byte order mark does not count.

    Raises:
        RefusedError: not UTF-8, not JSON, a repeated field, or a number that cannot be kept as it is.
    """
    try:
        text = content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as cause:
        raise RefusedError(f"not UTF-8: byte 0x{content[cause.start]:02x} at position {cause.start}") from cause
    try:
        return json.loads(
            text,
            object_pairs_hook=_without_repeats,
            parse_int=_integer,
            parse_float=_finite,
            parse_constant=_constant,
        )
    except json.JSONDecodeError as cause:
        raise RefusedError(f"not JSON: {cause.msg} at column {cause.colno}, found {quoted(text)}") from cause
    except RecursionError as cause:
        raise RefusedError("not JSON: nested too deeply") from cause


def without_nulls(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields that are set: null is the same as a missing field."""
    return {name: value for name, value in fields.items() if value is not None}


def non_empty(value: Any, name: str, limit: int | None = None) -> str:
    """A string that is not blank, of at most `limit` characters.

    Raises:
        RefusedError: it is none.
    """
    if not isinstance(value, str):
        raise RefusedError(f"{name} must be a string, found {found(value)}")
    if not value.strip():
        raise RefusedError(f"{name} is empty")
    if limit is not None and len(value) > limit:
        raise RefusedError(f"{name} has {len(value):,} characters, more than {limit}")
    return storable(value, name)


def storable(text: str, name: str) -> str:
    """The text, if a database can store it.

    Raises:
        RefusedError: it contains NUL or half of a surrogate pair.
    """
    if "\x00" in text:
        raise RefusedError(f"{name} contains a NUL character, which databases cannot store")
    try:
        text.encode()
    except UnicodeEncodeError as cause:
        raise RefusedError(f"{name} contains a lone surrogate, which is not valid Unicode") from cause
    return text


def found(value: Any) -> str:
    """A value as an error shows it: its type, and enough of it to find it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"a boolean ({json.dumps(value)})"
    if isinstance(value, (int, float)):
        return f"a number ({quoted(str(value))[1:-1]})"
    if isinstance(value, str):
        return f"a string ({quoted(value)})" if value else "an empty string"
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    return f"an object with the fields {names(value)}" if value else "an empty object"


def names(fields: Any) -> str:
    """The first names of fields."""
    shown = [quoted(name)[1:-1] for name in list(fields)[:_SHOWN_FIELDS]]
    return ", ".join(shown) + (", …" if len(fields) > _SHOWN_FIELDS else "")


def quoted(text: str) -> str:
    """The beginning of a text in quotes."""
    return repr(text[:_SHOWN_CHARACTERS] + ("…" if len(text) > _SHOWN_CHARACTERS else ""))


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise RefusedError("a field occurs twice")
    return fields


def _integer(text: str) -> int:
    digits = len(text.lstrip("-"))
    if digits > _INTEGER_DIGITS:
        raise RefusedError(
            f"an integer has {digits:,} digits, more than {_INTEGER_DIGITS:,}; write it as a string, in quotes"
        )
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise RefusedError(f"the number {quoted(text)[1:-1]} is too large; write it as a string, in quotes")
    return value


def _constant(text: str) -> NoReturn:
    raise RefusedError(f"not JSON: {text} is no JSON number; write null, or a string in quotes")
