"""Responses that come with a row, their ratings, and the chats that they end."""

from __future__ import annotations

import hashlib
import math
from typing import Any

from karma_gateway.forms.draft import Fields, list_of, text_of
from karma_gateway.json_values import RefusedError, found, without_nulls

#: Models of responses whose source does not say who wrote them.
_UNNAMED = "unnamed-1", "unnamed-2"


def response(model: Any, text: Any, rating: float | None = None) -> Fields:
    """A given response; without a rating, nothing is said about it."""
    given = {"model": model, "text": text}
    return given if rating is None else given | {"rating": rating}


def number_of(value: Any) -> float | None:
    """A finite number, also one that stands in a text; None for `N/A`, NaN and whatever else is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def named(models: tuple[Any, Any], texts: tuple[str, str]) -> tuple[Any, Any]:
    """The models of two responses.

    Where the source names none, neither name is always that of the better response: the texts' hashes decide.
    """
    if all(isinstance(model, str) and model.strip() for model in models):
        return models
    first, second = (hashlib.sha256(text.encode(errors="surrogatepass")).digest() for text in texts)
    return _UNNAMED if first <= second else _UNNAMED[::-1]


def sides(models: tuple[Any, Any], texts: tuple[str, str], better: float | None) -> list[Fields]:
    """Two responses of which the first is better (1), the second (0), neither (0.5), or nothing is known (None)."""
    names = named(models, texts)
    ratings = (None, None) if better is None else (better, 1.0 - better)
    return [response(*each) for each in zip(names, texts, ratings, strict=True)]


def split(value: Any, name: str) -> tuple[list[Any], str]:
    """A whole chat as the turns before its last one, and the assistant's text that it ends with.

    Raises:
        RefusedError: it is no such chat.
    """
    turns = list_of(value, name)
    last = turns[-1]
    if not isinstance(last, dict) or last.get("role") != "assistant":
        raise RefusedError(f"`{name}` must end with a turn of the assistant, found {found(last)}")
    if last.get("tool_calls"):
        raise RefusedError(f"`{name}` ends with a call of a tool, which KARMA's responses cannot hold")
    return turns[:-1], text_of(last.get("content"), f"{name}[{len(turns) - 1}].content")


def same_turns(first: list[Any], second: list[Any]) -> bool:
    """Whether two chats have the same turns; fields that are null do not count."""

    def bare(turns: list[Any]) -> list[Any]:
        return [without_nulls(turn) if isinstance(turn, dict) else turn for turn in turns]

    return bare(first) == bare(second)
