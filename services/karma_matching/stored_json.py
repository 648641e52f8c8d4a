"""The JSON that matching reads and writes in every row: features of responses, turns of prompts, reasons of pairs.

msgspec reads and writes it at a tenth of the cost of `json`, which remains for what msgspec refuses.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

import msgspec

log = logging.getLogger(__name__)


class _Turn(msgspec.Struct):
    content: str


_features: msgspec.json.Decoder[dict[str, float]] = msgspec.json.Decoder(dict[str, float])
_turns: msgspec.json.Decoder[list[_Turn]] = msgspec.json.Decoder(list[_Turn])
_encode = msgspec.json.Encoder().encode


def features_of(response: int, stored: str | None) -> dict[str, float]:
    """The stored features of a response, by its id; none if they cannot be read."""
    if not stored:
        return {}
    try:
        return _features.decode(stored)
    except (msgspec.MsgspecError, ValueError):  # such as NaN, or a number in a text
        pass
    try:
        return {str(name): float(value) for name, value in json.loads(stored).items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        log.warning("the features of response %s cannot be read; it is paired without them", response)
        return {}


def contents(messages: str) -> list[str]:
    """The texts of a chat's turns, without their roles."""
    return [turn.content for turn in _turns.decode(messages)]


def reasons_json(reasons: Mapping[str, Any]) -> str:
    """The reasons of a pair; queries look for `"sure": true` and the like in them, so that the spaces are fixed."""
    try:
        return msgspec.json.format(_encode(reasons), indent=0).decode()
    except (TypeError, ValueError, OverflowError):  # such as NumPy's numbers from a plug-in's policy
        return json.dumps(reasons)
