"""Chats: what is wrong with a list of turns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TypeAlias

Turn: TypeAlias = dict[str, Any]
Found: TypeAlias = tuple[str, str]  # kind of problem, what was found

_ROLES = ("system", "developer", "user", "assistant", "tool")
_SHOWN = 60


def shown(value: Any) -> str:
    """The beginning of a value, as a problem shows it."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def is_json_text(text: Any) -> bool:
    """Whether a text holds a JSON list or object."""
    if not isinstance(text, str) or text.lstrip()[:1] not in ("[", "{") or not text.strip():
        return False
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    items = value if isinstance(value, list) else [value]
    return bool(items) and all(isinstance(item, dict) and {"role", "from"} & item.keys() for item in items)


def shape_problems(value: Any, where: str) -> Iterator[Found]:
    """What keeps a value from being a list of turns with a role and a text each."""
    if value is None:
        yield "null", f"{where} is null"
    elif is_json_text(value):
        yield "json-text", f"{where} is the text {shown(value)}"
    elif not isinstance(value, list):
        yield "wrong-type", f"{where} is {shown(value)}, expected a list of turns"
    elif not value:
        yield "empty", f"{where} is an empty list"
    else:
        for index, turn in enumerate(value):
            yield from _turn_problems(turn, f"{where}[{index}]")


def _turn_problems(turn: Any, where: str) -> Iterator[Found]:
    if not isinstance(turn, dict):
        yield ("null" if turn is None else "wrong-type"), f"{where} is {shown(turn)}, expected role and content"
        return
    role, content = turn.get("role"), turn.get("content")
    if role not in _ROLES:
        yield "unknown-role", f"{where} has the role {shown(role)}, expected one of {', '.join(_ROLES)}"
    calls = bool(turn.get("tool_calls"))
    if content is None:
        if not calls:
            yield "null", f"{where} has no content"
    elif not isinstance(content, str):
        yield "wrong-type", f"{where} has the content {shown(content)}, expected a text"
    elif not content.strip() and not calls and role != "tool":
        yield "empty", f"{where} has an empty content"


def order_problems(turns: list[Turn], where: str) -> Iterator[Found]:
    """What is wrong with the order of the turns of a prompt or of a whole chat."""
    earlier = ""
    for index, turn in enumerate(turns):
        role = turn["role"]
        if role in ("system", "developer") and index:
            yield "role-order", f"{where}[{index}] is a turn of the {role}, which may only be the first one"
        elif role == "assistant" and earlier in ("", "system", "developer"):
            yield "role-order", f"{where}[{index}] is the assistant's, before any turn of the user"
        elif role == "tool" and earlier not in ("assistant", "tool"):
            yield "role-order", f"{where}[{index}] is a tool's, after a turn of {earlier or 'nobody'}"
        elif role == earlier and role in ("user", "assistant"):
            yield "same-role-twice", f"{where}[{index}] is the {role}'s, as the turn before it"
        earlier = role


def words(turns: list[Turn]) -> str:
    """The texts of turns."""
    return "\n".join(str(turn.get("content") or "") for turn in turns)
