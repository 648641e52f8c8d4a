"""KARMA's own form: `prompt` or `messages`, and what may come with them."""

from __future__ import annotations

from collections.abc import Collection

from karma_gateway.forms.draft import Draft, Fields, Form, list_of
from karma_gateway.prompt_lines import FIELDS


def _uses(columns: Collection[str]) -> tuple[str, ...] | None:
    used = tuple(name for name in FIELDS if name in columns)
    return used if "prompt" in used or "messages" in used else None


def _draft(row: Fields) -> Draft:
    own = {name: row.pop(name) for name in FIELDS if name in row}
    if isinstance(own.get("prompt"), list):  # as TRL writes a conversation
        own["messages"] = own.pop("prompt")
    elif isinstance(own.get("messages"), str):  # a cell of a table of texts
        own["messages"] = list_of(own["messages"], "messages")
    return Draft(own, row)


OWN = Form("KARMA", _uses, _draft)
