"""Lines of OpenAI's batch files: `custom_id` and `body`; `method` and `url` may be missing."""

from __future__ import annotations

from typing import Any

from karma_gateway.forms.draft import Draft, Fields, Form, drafted, needs
from karma_gateway.json_values import RefusedError, found, quoted, without_nulls

_CHAT = "/v1/chat/completions"
_RESPONSES = "/v1/responses"


def _draft(row: Fields) -> Draft:
    body = row.pop("body")
    if not isinstance(body, dict):
        raise RefusedError(f"`body` must be an object, found {found(body)}")
    body = without_nulls(body)
    url = row.get("url", _RESPONSES if "input" in body and "messages" not in body else _CHAT)
    if url not in (_CHAT, _RESPONSES):
        raise RefusedError(f"`url` is {found(url)}: only requests to {_CHAT} and {_RESPONSES} hold prompts")
    for name in ("tools", "functions"):
        if body.get(name):
            raise RefusedError(f"`body.{name}` defines tools, which KARMA's prompts cannot hold")
    if body.get("n", 1) != 1:
        raise RefusedError(f"`body.n` is {found(body['n'])}: the stream says how many answers a prompt gets")
    turns = _input(body) if url == _RESPONSES else body.pop("messages", None)
    if not isinstance(turns, list):
        raise RefusedError(f"`body.messages` must be a list of turns, found {found(turns)}")
    rest = row | ({"body": body} if body else {})
    rest["id"] = rest.pop("custom_id")
    if not isinstance(rest["id"], str):
        raise RefusedError(f"`custom_id` must be a string, found {found(rest['id'])}")
    return drafted(rest, messages=turns)


def _input(body: Fields) -> Any:
    """The turns of a request to the responses API."""
    value = body.pop("input", None)
    turns = [{"role": "user", "content": value}] if isinstance(value, str) else value
    instructions = body.pop("instructions", None)
    if instructions is not None and isinstance(turns, list):
        turns = [{"role": "system", "content": instructions}, *turns]
    if body.get("previous_response_id"):
        raise RefusedError(
            f"`body.previous_response_id` is {quoted(str(body['previous_response_id']))}: earlier turns are not here"
        )
    return turns


BATCH_LINE = Form("OpenAI batch", needs("custom_id", "body"), _draft)
