"""The front door: reads one prompt at a time, says exactly what is wrong with a bad one, and keeps the good ones.

It does not care where a prompt came from: a file, a pipe or a request hands over the same text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from karma.config.derived_streams import check_enqueued
from karma.queue.fault_injection import reach
from karma.store import Store
from karma.store.records import NewPrompt

_FIELDS = {"prompt", "messages", "id", "skill", "reference", "responses"}
_ROLES = ("system", "user", "assistant")
_ID_CHARACTERS = 256
_SKILL_CHARACTERS = 100


class RefusedError(ValueError):
    """One prompt cannot be taken; the text is the reason."""


@dataclass(frozen=True)
class Line:
    """A prompt as it came: where from, and its bytes."""

    source: str  # file name
    number: int
    content: bytes


@dataclass(frozen=True)
class Refusal:
    """A line that was not taken, and why."""

    source: str
    number: int
    reason: str

    def __str__(self) -> str:
        """The refusal as a sentence for people."""
        return f"{self.source}:{self.number}: {self.reason}"


@dataclass
class Receipt:
    """What became of the lines of one stream."""

    accepted: int = 0
    present: int = 0
    refused: list[Refusal] = field(default_factory=list)


def take(
    store: Store, stream: str, lines: Sequence[Line], *, max_bytes: int, priority: int = 0, all_or_nothing: bool = False
) -> Receipt:
    """Keep the good lines, in one transaction, and report the others; what is called accepted is committed.

    With `all_or_nothing`, one refusal takes the whole transaction back, and nothing is called accepted.

    Raises:
        SettingsError: the stream's name is one that only `karma rematch` gives.
    """
    check_enqueued(stream)
    receipt = Receipt()
    good: list[tuple[Line, NewPrompt]] = []
    for line in lines:
        try:
            good.append((line, read(line.content, max_bytes, priority)))
        except RefusedError as cause:
            receipt.refused.append(Refusal(line.source, line.number, str(cause)))
    try:
        with store.transaction() as transaction:
            answers = transaction.ledger.accept(stream, [prompt for _line, prompt in good])
            for (line, prompt), answer in zip(good, answers, strict=True):
                if answer == "conflict":
                    reason = f"the id {prompt.prompt_id!r} exists in stream {stream!r} with other content"
                    receipt.refused.append(Refusal(line.source, line.number, reason))
            if all_or_nothing and receipt.refused:
                raise _TakenBackError
            reach("ingest.before_commit")
        reach("ingest.after_commit")
    except _TakenBackError:
        answers = []
    receipt.accepted, receipt.present = answers.count("accepted"), answers.count("present")
    receipt.refused.sort(key=lambda refusal: refusal.number)
    return receipt


class _TakenBackError(Exception):
    """Rolls the transaction back."""


def read(content: bytes, max_bytes: int, priority: int = 0) -> NewPrompt:
    """One JSON object as a prompt.

    Raises:
        RefusedError: says what was read and what was expected.
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
    for place, turn in enumerate(turns):
        if not isinstance(turn, dict) or set(turn) != {"role", "content"}:
            raise RefusedError(f"`messages[{place}]` must have exactly `role` and `content`")
        if turn["role"] not in _ROLES:
            raise RefusedError(
                f"`messages[{place}].role` is {str(turn['role'])[:40]!r}, expected one of {', '.join(_ROLES)}"
            )
        messages.append({"role": turn["role"], "content": _text(turn["content"], f"`messages[{place}].content`")})
    if messages[-1]["role"] != "user":
        raise RefusedError(
            f"the last of `messages` is the {messages[-1]['role']}'s; a user's turn must be open to answer"
        )
    return messages


def _responses(value: Any) -> list[tuple[str, int, str]]:
    """Given responses as (model, sample, text): `{"model": "text"}` or `[{"model": …, "text": …}]`."""
    if value is None:
        return []
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list) and all(isinstance(one, dict) and set(one) == {"model", "text"} for one in value):
        pairs = [(one["model"], one["text"]) for one in value]
    else:
        raise RefusedError("`responses` must be an object of model: text, or a list of objects with `model` and `text`")
    if not pairs:
        raise RefusedError("`responses` is empty; leave it out to have the prompt answered by the pool")
    samples: dict[str, int] = {}
    given: list[tuple[str, int, str]] = []
    for model, text in pairs:
        if not isinstance(model, str) or not model.strip() or len(model) > _ID_CHARACTERS:
            raise RefusedError(f"a model's name in `responses` must be a text of 1 to {_ID_CHARACTERS} characters")
        if not isinstance(text, str):
            raise RefusedError(f"the response of {model[:60]!r} must be a text, found {_kind(text)}")
        given.append((_unicode(model, "a model's name"), samples.get(model, 0), _unicode(text, "a response")))
        samples[model] = samples.get(model, 0) + 1
    return given


def _id(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip() or len(value) > _ID_CHARACTERS:
        raise RefusedError(f"`id` must be a text of 1 to {_ID_CHARACTERS} characters, found {_kind(value)}")
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
        raise RefusedError(f"{name} must be a text, found {_kind(value)}")
    if not value.strip():
        raise RefusedError(f"{name} is empty")
    return _unicode(value, name)


def _unicode(text: str, name: str) -> str:
    if "\x00" in text:
        raise RefusedError(f"{name} holds a NUL character, which no database keeps")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise RefusedError(f"{name} holds half of a surrogate pair, which is no Unicode text")
    return text


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RefusedError("a field occurs twice")
    return found


def _kind(value: Any) -> Literal["nothing", "a truth value", "a number", "a text", "a list", "an object"]:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "a truth value"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a text"
    return "a list" if isinstance(value, list) else "an object"
