"""Lines of a file with the verdicts of people: one JSON object each, read strictly."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, get_args

from karma.errors import KarmaError
from karma.messages.results import storable

Said = Literal["first", "second", "tie"]

_SAID: tuple[Said, ...] = get_args(Said)
_MOST_NAME = 100
_MOST_RATIONALE = 20_000


class LineRefusedError(KarmaError):
    """A line is no verdict, or cannot be recorded."""


@dataclass(frozen=True)
class HumanLine:
    """What one line says. The pair is named by its number, or by its prompt and both models."""

    judge: str
    said: Said
    pair: int | None
    prompt_id: str | None
    first: str | None  # model of the response that was shown first; None: response a
    second: str | None
    first_sample: int | None
    second_sample: int | None
    rationale: str | None


def read_line(content: bytes, judge: str | None) -> HumanLine:
    """The verdict that a line holds.

    Args:
        content: a JSON object with `verdict` ("first", "second" or "tie"), and `pair`, or `prompt_id`, `first` and
            `second`; optional `judge`, `first_sample`, `second_sample`, `rationale`. Other fields are ignored.
        judge: who said it where the line does not say.

    Raises:
        LineRefusedError: what was read, and what was expected.
    """
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as cause:
        raise LineRefusedError(f"no JSON: {cause}") from cause
    if not isinstance(fields, dict):
        raise LineRefusedError('expected an object, like {"pair": 17, "verdict": "first", "judge": "anna"}')
    said = next((each for each in _SAID if each == fields.get("verdict")), None)
    if "verdict" not in fields:
        raise LineRefusedError(
            f'has no field verdict, expected "first", "second" or "tie" in it; its fields are {_names(fields)}'
        )
    if said is None:
        raise LineRefusedError(f'verdict is {_shown(fields.get("verdict"))}, expected "first", "second" or "tie"')
    name = _text(fields, "judge", _MOST_NAME) or judge
    if not name:
        raise LineRefusedError("does not say who judged: add the field judge, or --judge NAME")
    if not name.isprintable() or name != name.strip():
        raise LineRefusedError(f"judge is {_shown(name)}, expected a name without control characters and outer spaces")
    first, second = _text(fields, "first"), _text(fields, "second")
    prompt_id, pair = _text(fields, "prompt_id"), _pair(fields.get("pair"))
    if pair is None and (prompt_id is None or first is None or second is None):
        raise LineRefusedError(
            "does not say which pair: expected pair (its number, or its id in an export), or prompt_id with first and "
            "second, the models of the two responses"
        )
    return HumanLine(
        judge=name,
        said=said,
        pair=pair,
        prompt_id=prompt_id,
        first=first,
        second=second,
        first_sample=_sample(fields, "first_sample"),
        second_sample=_sample(fields, "second_sample"),
        rationale=_text(fields, "rationale", _MOST_RATIONALE),
    )


def _pair(value: Any) -> int | None:
    """The number of a pair, or the one at the end of an export's id, STREAM/PROMPT/NUMBER."""
    if value is None:
        return None
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    number = text.rpartition("/")[2] if isinstance(text, str) else ""
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        raise LineRefusedError(f'pair is {_shown(value)}, expected a number like 17, or an id like "default/p1/17"')
    return int(number)


def _text(fields: dict[str, Any], key: str, most: int = 1_000) -> str | None:
    value = fields.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not value or len(value) > most:
        raise LineRefusedError(f"{key} is {_shown(value)}, expected a text of 1 to {most:,} characters")
    return storable(value)


def _sample(fields: dict[str, Any], key: str) -> int | None:
    value = fields.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**15:
        raise LineRefusedError(f"{key} is {_shown(value)}, expected the number of a sample, 0 or more")
    return value


def _names(fields: dict[str, Any]) -> str:
    return _shown(", ".join(fields)) if fields else "none"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"
