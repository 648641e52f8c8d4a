"""ShareGPT: `conversations` with turns of `from` and `value`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from karma_gateway.forms.draft import Draft, Fields, Form, drafted, list_of, text_of
from karma_gateway.json_values import RefusedError, found, names, quoted, without_nulls

_ROLES = {
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "assistant", "chatgpt", "bing", "bard", "model"), "assistant"),
    "system": "system",
}
_TOOLS = ("function_call", "function", "observation", "tool", "tool_call", "tool_response", "function_response")


def _uses(columns: Collection[str]) -> tuple[str, ...] | None:
    for name in ("conversations", "conversation"):
        if name in columns:
            return (name, *(each for each in ("system",) if each in columns))
    return None


def _draft(row: Fields) -> Draft:
    name = "conversations" if "conversations" in row else "conversation"
    if row.get("tools"):
        raise RefusedError("has definitions of `tools`, which KARMA's prompts cannot hold")
    turns = [_turn(turn, f"{name}[{index}]") for index, turn in enumerate(list_of(row.pop(name), name))]
    system = text_of(row.pop("system", ""), "system")
    if system.strip():
        turns.insert(0, {"role": "system", "content": system})
    return drafted(row, messages=turns)


def _turn(turn: Any, where: str) -> dict[str, Any]:
    if not isinstance(turn, dict):
        raise RefusedError(f"`{where}` must be an object with `from` and `value`, found {found(turn)}")
    fields: dict[str, Any] = without_nulls(turn)
    if "role" in fields and "content" in fields:  # the same list in OpenAI's words
        return fields
    if "from" not in fields or "value" not in fields:
        raise RefusedError(f"`{where}` must have `from` and `value`, found the fields {names(fields)}")
    said_by = fields["from"]
    if isinstance(said_by, str) and said_by in _TOOLS:
        raise RefusedError(f"`{where}` is a turn of a tool ({quoted(said_by)}), whose call ShareGPT has no fields for")
    if not isinstance(said_by, str) or said_by.lower() not in _ROLES:
        raise RefusedError(f"`{where}.from` is {found(said_by)}, expected one of {', '.join(_ROLES)}")
    return {"role": _ROLES[said_by.lower()], "content": text_of(fields["value"], f"{where}.value")}


SHAREGPT = Form("ShareGPT", _uses, _draft)
