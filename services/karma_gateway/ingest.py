"""Ingest: validates prompts one by one, accepts the valid ones, and gives the reason for each refusal.

The source does not matter: prompts from a file, a pipe or a request are the same text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from karma.config.derived_streams import check_enqueued
from karma.queue.fault_injection import reach
from karma.store import Store
from karma.store.records import NewPrompt

_FIELDS = {"prompt", "messages", "id", "skill", "reference", "responses"}
_ROLES = ("system", "user", "assistant")
_ID_CHARACTERS = 256
_SKILL_CHARACTERS = 100

#: JSON types by the name that an error gives them. A boolean is an `int` too, so it comes first.
_JSON_TYPES = (
    (type(None), "null"),
    (bool, "a boolean"),
    ((int, float), "a number"),
    (str, "a string"),
    (list, "a list"),
    (dict, "an object"),
)


class RefusedError(ValueError):
    """A prompt is not valid; the text is the reason."""


@dataclass(frozen=True)
class Line:
    """The text of a prompt, with its source."""

    source: str  # file name
    number: int
    content: bytes


@dataclass(frozen=True)
class Refusal:
    """A line that was not accepted, with the reason."""

    source: str
    number: int
    reason: str

    def __str__(self) -> str:
        """The refusal as a sentence."""
        return f"{self.source}:{self.number}: {self.reason}"


@dataclass
class Receipt:
    """The result for the lines of one stream."""

    accepted: int = 0
    present: int = 0
    refused: list[Refusal] = field(default_factory=list)


def take(
    store: Store, stream: str, lines: Sequence[Line], *, max_bytes: int, priority: int = 0, all_or_nothing: bool = False
) -> Receipt:
    """Accept the valid lines in one transaction and refuse the others. The receipt is made after the commit.

    With `all_or_nothing`, one refusal rolls the transaction back, and no line is accepted.

    Raises:
        SettingsError: the stream's name is reserved for `karma rematch`.
    """
    check_enqueued(stream)
    receipt = Receipt()
    valid: list[tuple[Line, NewPrompt]] = []
    for line in lines:
        try:
            valid.append((line, read(line.content, max_bytes, priority)))
        except RefusedError as cause:
            receipt.refused.append(Refusal(line.source, line.number, str(cause)))
    try:
        with store.transaction() as transaction:
            answers = transaction.ledger.accept(stream, [prompt for _line, prompt in valid])
            for (line, prompt), answer in zip(valid, answers, strict=True):
                if answer == "conflict":
                    reason = f"the id {prompt.prompt_id!r} exists in stream {stream!r} with other content"
                    receipt.refused.append(Refusal(line.source, line.number, reason))
            if all_or_nothing and receipt.refused:
                raise _RolledBackError
            reach("ingest.before_commit")
        reach("ingest.after_commit")
    except _RolledBackError:
        answers = []
    receipt.accepted, receipt.present = answers.count("accepted"), answers.count("present")
    receipt.refused.sort(key=lambda refusal: refusal.number)
    return receipt


class _RolledBackError(Exception):
    """Rolls the transaction back."""


def read(content: bytes, max_bytes: int, priority: int = 0) -> NewPrompt:
    """Parse one JSON object as a prompt.

    Raises:
        RefusedError: names the value and what was expected.
    """
    if len(content) > max_bytes:
        raise RefusedError(f"the prompt has more than the limit of {max_bytes:,} bytes (prompt_bytes in the pool file)")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as cause:
        raise RefusedError(f"not UTF-8: byte 0x{content[cause.start]:02x} at position {cause.start}") from cause
    try:
        fields = json.loads(text, object_pairs_hook=_without_repeats)
    except json.JSONDecodeError as cause:
        raise RefusedError(f"not JSON: {cause.msg} at column {cause.colno}") from cause
    except RecursionError as cause:
        raise RefusedError("not JSON: nested too deeply") from cause
    if not isinstance(fields, dict):
        raise RefusedError(f"expected a JSON object with `prompt` or `messages`, found {_kind(fields)}")
    for name in fields:
        if name not in _FIELDS:
            raise RefusedError(f"unknown field {name[:60]!r}; known are {', '.join(sorted(_FIELDS))}")
    messages = _messages(fields)
    skill = _short_text(fields, "skill", _SKILL_CHARACTERS)
    reference = _text(fields.get("reference"), "`reference`") if fields.get("reference") is not None else None
    given = _responses(fields.get("responses"))
    whole = [messages, skill, reference, given]
    content_hash = hashlib.sha256(json.dumps(whole, ensure_ascii=False).encode()).hexdigest()
    return NewPrompt(
        prompt_id=_id(fields.get("id")) or content_hash[:32],
        content_hash=content_hash,
        messages=json.dumps(messages, ensure_ascii=False),
        skill=skill,
        reference=reference,
        given=json.dumps(given, ensure_ascii=False) if given else None,
        priority=priority,
    )


def _messages(fields: Mapping[str, Any]) -> list[dict[str, str]]:
    if ("prompt" in fields) == ("messages" in fields):
        raise RefusedError("expected exactly one of `prompt` and `messages`")
    if "prompt" in fields:
        return [{"role": "user", "content": _text(fields["prompt"], "`prompt`")}]
    turns = fields["messages"]
    if not isinstance(turns, list) or not turns:
        raise RefusedError(f"`messages` must be a list of turns with at least one, found {_kind(turns)}")
    messages = []
    for index, turn in enumerate(turns):
        if not isinstance(turn, dict) or set(turn) != {"role", "content"}:
            raise RefusedError(f"`messages[{index}]` must have exactly `role` and `content`")
        if turn["role"] not in _ROLES:
            raise RefusedError(
                f"`messages[{index}].role` is {str(turn['role'])[:40]!r}, expected one of {', '.join(_ROLES)}"
            )
        messages.append({"role": turn["role"], "content": _text(turn["content"], f"`messages[{index}].content`")})
    if messages[-1]["role"] != "user":
        raise RefusedError(
            f"the last of `messages` has the role {messages[-1]['role']!r}; the last turn must be the user's"
        )
    return messages


def _responses(value: Any) -> list[tuple[str, int, str]]:
    """Given responses as (model, sample, text): `{"model": "text"}` or `[{"model": …, "text": …}]`."""
    if value is None:
        return []
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list) and all(isinstance(part, dict) and set(part) == {"model", "text"} for part in value):
        pairs = [(part["model"], part["text"]) for part in value]
    else:
        raise RefusedError("`responses` must be an object of model: text, or a list of objects with `model` and `text`")
    if not pairs:
        raise RefusedError("`responses` is empty; omit it if models of the pool should answer")
    samples: dict[str, int] = {}
    given: list[tuple[str, int, str]] = []
    for model, text in pairs:
        if not isinstance(model, str) or not model.strip() or len(model) > _ID_CHARACTERS:
            raise RefusedError(f"a model's name in `responses` must be a string of 1 to {_ID_CHARACTERS} characters")
        if not isinstance(text, str):
            raise RefusedError(f"the response of {model[:60]!r} must be a string, found {_kind(text)}")
        given.append((_unicode(model, "a model's name"), samples.get(model, 0), _unicode(text, "a response")))
        samples[model] = samples.get(model, 0) + 1
    return given


def _id(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip() or len(value) > _ID_CHARACTERS:
        raise RefusedError(f"`id` must be a string of 1 to {_ID_CHARACTERS} characters, found {_kind(value)}")
    return _unicode(value, "`id`")


def _short_text(fields: Mapping[str, Any], name: str, limit: int) -> str | None:
    if fields.get(name) is None:
        return None
    text = _text(fields[name], f"`{name}`")
    if len(text) > limit:
        raise RefusedError(f"`{name}` has {len(text)} characters, more than {limit}")
    return text


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise RefusedError(f"{name} must be a string, found {_kind(value)}")
    if not value.strip():
        raise RefusedError(f"{name} is empty")
    return _unicode(value, name)


def _unicode(text: str, name: str) -> str:
    if "\x00" in text:
        raise RefusedError(f"{name} contains a NUL character, which databases cannot store")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise RefusedError(f"{name} contains a lone surrogate, which is not valid Unicode")
    return text


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise RefusedError("a field occurs twice")
    return fields


def _kind(value: Any) -> str:
    return next(name for kind, name in _JSON_TYPES if isinstance(value, kind))
