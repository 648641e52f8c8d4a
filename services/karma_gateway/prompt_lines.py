"""Prompt lines: reads one JSON object as a prompt, or says in one sentence why it is refused.

`null` is the same as a missing field, wherever a field is optional. Unknown fields are the prompt's metadata, unless
their name looks like a misspelled known one.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from json.encoder import encode_basestring
from typing import Any, get_args

from karma.messages import Role
from karma.store.given_verdicts import RATINGS
from karma.store.records import NewPrompt
from karma_gateway.given_responses import NAME_CHARACTERS, given_responses
from karma_gateway.json_values import RefusedError, found, names, non_empty, parse, quoted, storable, without_nulls

FIELDS = ("prompt", "messages", "id", "skill", "reference", "responses")
_TURN_FIELDS = ("role", "content", "name", "tool_calls", "tool_call_id")
_ROLES = get_args(Role)
_ENCODE = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
_ENCODE_SORTED = json.JSONEncoder(sort_keys=True, allow_nan=False).encode
_SKILL_CHARACTERS = 100

#: Similarity to a known name from which a name without an underscore is taken for a misspelling: `promt`, `respones`.
_MISSPELLED = 0.82
_CAMEL_CASE = re.compile(r"[a-z][A-Z][a-z]")
#: Words of their own that data has as names, however similar they are.
_OTHER_WORDS = ("preference", "preferences", "kill")


def read(content: bytes, max_bytes: int, priority: int = 0) -> NewPrompt:
    """Parse one JSON object as a prompt.

    Raises:
        RefusedError: names the value and what was expected.
    """
    if len(content) > max_bytes:
        raise RefusedError(f"the prompt has more than the limit of {max_bytes:,} bytes (prompt_bytes in the pool file)")
    try:
        return _prompt(parse(content), priority)
    except RecursionError as cause:
        raise RefusedError("nested too deeply") from cause


def _prompt(fields: Any, priority: int) -> NewPrompt:
    if not isinstance(fields, dict):
        raise RefusedError(f"expected a JSON object with `prompt` or `messages`, found {found(fields)}")
    fields = without_nulls(fields)
    own = {name: fields.pop(name) for name in list(fields) if name not in FIELDS}
    refuse_misspelled(own)
    return prompt_of(fields, own, priority)


def refuse_misspelled(metadata: Iterable[str]) -> None:
    """Refuse unknown fields whose name looks like a misspelled known one.

    Raises:
        RefusedError: names the field that was probably meant.
    """
    for name in metadata:
        if near := _misspelled(name):
            raise RefusedError(f"unknown field {quoted(name)} (did you mean {near!r}?)")


def prompt_of(
    fields: dict[str, Any], metadata: dict[str, Any], priority: int = 0, verdicts_as: str | None = None
) -> NewPrompt:
    """A prompt of KARMA's own fields (`FIELDS`, without nulls) and its metadata.

    Ratings of responses are kept beside the metadata, with the judge that `verdicts_as` names; they are no content, so
    that the same prompt with other ratings is the same.

    Raises:
        RefusedError: names the value and what was expected.
    """
    if RATINGS in metadata:
        raise RefusedError(f"`{RATINGS}` is a name of KARMA's own; rename the column")
    messages = _turns(fields, metadata)
    skill = _skill(fields.get("skill"))
    reference = non_empty(fields["reference"], "`reference`") if "reference" in fields else None
    given, ratings = given_responses(fields.get("responses"))
    responses = _json(given) if given else None
    # Without metadata, the hash is that of earlier versions: a file that was enqueued before adds nothing.
    parts = [messages, _text(skill), _text(reference), responses or "[]"]
    own, own_sorted = _metadata(metadata) if metadata else (None, None)
    if own_sorted is not None:
        parts.append(_text(own_sorted))
    if ratings:
        own = _json(metadata | {RATINGS: {"by": verdicts_as, "of": ratings}})
    content_hash = hashlib.sha256(f"[{', '.join(parts)}]".encode()).hexdigest()
    return NewPrompt(
        prompt_id=_id(fields.get("id")) or content_hash[:32],
        content_hash=content_hash,
        messages=messages,
        skill=skill,
        reference=reference,
        given=responses,
        priority=priority,
        metadata=own,
    )


def _misspelled(name: str) -> str | None:
    """The known field that a name misspells; a longer name (`prompt_id`, `promptId`) or another word is no such."""
    if "_" in name or _CAMEL_CASE.search(name) or name.casefold() in _OTHER_WORDS:
        return None
    return next(iter(difflib.get_close_matches(name.casefold(), FIELDS, n=1, cutoff=_MISSPELLED)), None)


def _turns(fields: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """The messages as JSON; those of a text without detours, as most prompts are one."""
    text = fields.get("prompt")
    if isinstance(text, str) and "messages" not in fields:
        return f'[{{"role": "user", "content": {_text(non_empty(text, "`prompt`"))}}}]'
    return _json(_messages(fields, metadata))


def _text(text: str | None) -> str:
    """A text as JSON, as `json.dumps` writes it."""
    return "null" if text is None else encode_basestring(text)


def _json(value: Any) -> str:
    try:
        return storable(_ENCODE(value), "the line")
    except RefusedError:
        raise
    except (TypeError, ValueError) as cause:
        raise RefusedError(f"a value that JSON cannot hold: {cause}") from cause


def _metadata(metadata: dict[str, Any]) -> tuple[str, str]:
    """The metadata as JSON, and the same with sorted names.

    Raises:
        RefusedError: names the field whose value JSON cannot hold.
    """
    try:
        encoded = storable(_ENCODE(metadata), "the line")
        is_sorted = encoded.isascii() and "{" not in encoded[1:] and list(metadata) == sorted(metadata)
        return encoded, encoded if is_sorted else _ENCODE_SORTED(metadata)
    except RefusedError:
        raise
    except (TypeError, ValueError):
        for name, value in metadata.items():
            try:
                _ENCODE(value)
            except (TypeError, ValueError) as cause:
                reason = "bytes" if isinstance(value, bytes) else f"a value that JSON cannot hold ({cause})"
                raise RefusedError(f"`{name}` holds {reason}; leave it out: --drop {name}") from cause
        raise


def _messages(fields: Mapping[str, Any], own: Mapping[str, Any]) -> list[dict[str, Any]]:
    if ("prompt" in fields) == ("messages" in fields):
        others = f"the fields {names([*fields, *own])}" if fields or own else "an empty object"
        raise RefusedError(
            f"expected exactly one of `prompt` and `messages`, found {'both' if 'prompt' in fields else others}"
        )
    if "prompt" in fields:
        return [{"role": "user", "content": non_empty(fields["prompt"], "`prompt`")}]
    turns = fields["messages"]
    if not isinstance(turns, list) or not turns:
        raise RefusedError(f"`messages` must be a list of turns with at least one, found {found(turns)}")
    messages = [turn for index, value in enumerate(turns) if (turn := _turn(value, f"`messages[{index}]")) is not None]
    if not messages:
        raise RefusedError("`messages` has no turn but an empty system turn")
    if messages[-1]["role"] not in ("user", "tool"):
        raise RefusedError(
            f"the last of `messages` has the role {messages[-1]['role']!r}; the last turn must be the user's or a "
            "tool's. Give an answer that exists under `responses`, or leave it out: --cut-last-assistant."
        )
    return messages


def _turn(value: Any, where: str) -> dict[str, Any] | None:
    """A turn with the fields that are set; None for an empty system turn. `where` is its place, with an open quote."""
    if not isinstance(value, dict):
        raise RefusedError(f"{where}` must be an object with `role` and `content`, found {found(value)}")
    fields = without_nulls(value)
    for name, part in list(fields.items()):
        if name not in _TURN_FIELDS:
            near = difflib.get_close_matches(name.casefold(), _TURN_FIELDS, n=1)
            if not near and part in ("", [], {}):  # as SDKs write a turn: `"annotations": []`
                del fields[name]
                continue
            known = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_TURN_FIELDS)}"
            raise RefusedError(f"{where}` has the unknown field {quoted(name)} ({known})")
    if fields.get("role") not in _ROLES:
        raise RefusedError(f"{where}.role` is {found(fields.get('role'))}, expected one of {', '.join(_ROLES)}")
    role, content = fields["role"], _text_of(fields.get("content", ""))
    calls = _tool_calls(fields.get("tool_calls", []), f"{where}.tool_calls")
    if calls and role != "assistant":
        raise RefusedError(f"{where}.tool_calls` is in a turn of the {role}; only the assistant calls tools")
    if role in ("system", "developer") and isinstance(content, str) and not content.strip():
        return None
    if role == "tool" or calls:  # a tool may return nothing, and a turn that calls tools may say nothing
        if not isinstance(content, str):
            raise RefusedError(f"{where}.content` must be a string, found {found(content)}")
        storable(content, f"{where}.content`")
    else:
        non_empty(content, f"{where}.content`")
    texts: dict[str, Any] = {
        name: non_empty(fields[name], f"{where}.{name}`") for name in ("name", "tool_call_id") if name in fields
    }
    turn = {"role": role, "content": content, "tool_calls": calls} | texts
    return {name: turn[name] for name in _TURN_FIELDS if name in ("role", "content") or turn.get(name)}


def _text_of(content: Any) -> Any:
    """The text of a content of one text part, or of none; any other content as it is."""
    if content == []:
        return ""
    part = content[0] if isinstance(content, list) and len(content) == 1 else None
    if isinstance(part, dict) and without_nulls(part).keys() == {"type", "text"} and part["type"] == "text":
        return part["text"]
    return content


def _tool_calls(value: Any, where: str) -> list[dict[str, Any]]:
    """Tool calls in OpenAI's format, whose arguments are JSON text; arguments that are an object become text."""
    if not isinstance(value, list):
        raise RefusedError(f"{where}` must be a list, found {found(value)}")
    calls = []
    for index, call in enumerate(value):
        if call is None:
            continue
        place = f"{where}[{index}]"
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            raise RefusedError(f"{place}` must be an object with `function`, found {found(call)}")
        if call.get("type") not in (None, "function"):
            raise RefusedError(f"{place}.type` is {found(call['type'])}, expected 'function'")
        arguments = function.get("arguments")
        if not isinstance(arguments, str):
            arguments = _json({} if arguments is None else arguments)
        calls.append(
            {
                **({} if call.get("id") is None else {"id": non_empty(call["id"], f"{place}.id`")}),
                "type": "function",
                "function": {
                    "name": non_empty(function.get("name"), f"{place}.function.name`"),
                    "arguments": storable(arguments, f"{place}.function.arguments`"),
                },
            }
        )
    return calls


def _id(value: Any) -> str | None:
    if isinstance(value, float):
        whole = f"an integer ({value:.0f}) or " if value.is_integer() else ""
        raise RefusedError(f'`id` is the decimal number {value}; write it as {whole}a string ("{value}")')
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        raise RefusedError(f"`id` must be a string of 1 to {NAME_CHARACTERS} characters, found {found(value)}")
    return non_empty(value, "`id`", NAME_CHARACTERS)


def _skill(value: Any) -> str | None:
    """The skill; blank is the same as none."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    return non_empty(value, "`skill`", _SKILL_CHARACTERS)
