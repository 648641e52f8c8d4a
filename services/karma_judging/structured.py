"""Verdicts as JSON of a schema, where the endpoint offers it (`options = {structured = true}`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from karma_judging.verdict_lines import PROBABILITY, RATIONALE_CHARACTERS

_LABELS = {"A": "a", "B": "b", "tie": "tie"}
_REASONING, _VERDICT = "reasoning", "verdict"
_ANSWER_CHARACTERS = 100_000

#: OpenAI's structured outputs (https://platform.openai.com/docs/guides/structured-outputs), which vLLM, SGLang, Ollama
#: and others have too. The reasoning comes first: a verdict before it would be given without.
RESPONSE_FORMAT: Final[Mapping[str, Any]] = {
    "type": "json_schema",
    "json_schema": {
        "name": "verdict",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {
                _REASONING: {"type": "string", "description": "Why, briefly."},
                _VERDICT: {"type": "string", "enum": list(_LABELS), "description": "The better response, or tie."},
            },
            "required": [_REASONING, _VERDICT],
            "additionalProperties": False,
        },
    },
}


def parse_structured(text: str) -> tuple[float | None, str | None]:
    """The probability that A is better and the reasoning, from an answer that is one object of the schema; else None.

    A key that comes twice, another key, another label or text around the object make it no verdict.
    """
    if len(text) > _ANSWER_CHARACTERS:
        return None, None
    try:
        pairs = json.loads(text, object_pairs_hook=_Object)
    except (ValueError, RecursionError):
        return None, None
    if not isinstance(pairs, _Object) or sorted(key for key, _value in pairs) != [_REASONING, _VERDICT]:
        return None, None
    found = dict(pairs)
    reasoning, label = found[_REASONING], found[_VERDICT]
    if not isinstance(reasoning, str) or not isinstance(label, str) or label not in _LABELS:
        return None, None
    return PROBABILITY[_LABELS[label]], reasoning.strip()[:RATIONALE_CHARACTERS] or None


class _Object(list[tuple[str, Any]]):
    """The keys and values of an object, apart from an array's values."""
