"""The words, codes and fields of an error, in the many forms that endpoints and the proxies before them give it.

OpenAI has `error`, pydantic `detail`, others `message`; a proxy wraps the provider's own error once more, as an object
or as JSON in a text. All are walked: codes count wherever they stand, and the words are the innermost ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from karma.llm.key_masking import mask
from karma.llm.lenient_json import decode

_READ_CHARACTERS = 4000
_DEEPEST = 8
_MOST_PARTS = 20

#: Codes of an error without a number, and the status that means the same.
_STATUS_OF_CODE = {
    **dict.fromkeys(("rate_limit_exceeded", "rate_limit_error", "too_many_requests", "resource_exhausted"), 429),
    **dict.fromkeys(("throttlingexception", "throttling", "rate_limited"), 429),
    **dict.fromkeys(("invalid_request_error", "invalid_request", "badrequesterror", "bad_request"), 400),
    **dict.fromkeys(("authentication_error", "invalid_api_key"), 401),
    **dict.fromkeys(("permission_error", "permission_denied"), 403),
    **dict.fromkeys(("not_found_error", "model_not_found"), 404),
    **dict.fromkeys(("timeout", "timeout_error"), 408),
    **dict.fromkeys(("server_error", "api_error", "internal_error", "internal_server_error"), 500),
    **dict.fromkeys(("overloaded_error", "service_unavailable", "overloaded"), 503),
}

#: Keys that hold an error or its words, the outermost first.
_HOLDERS = (
    *("error", "errors", "detail", "details", "message", "msg", "text", "status_msg", "reason"),
    *("issues", "violations", "fieldViolations", "description", "params", "metadata", "raw", "base_resp"),
)
#: Keys of a validation error that hold a field of the request: pydantic, OpenAI, zod, ajv, Spring.
_FIELD_KEYS = ("param", "loc", "field", "property", "instancePath", "pointer", "additionalProperty")
_FIELD_LISTS = ("param", "loc", "path", "keys")
#: pydantic's errors that were made a text.
_STEP = r"['\"]?\w{1,40}['\"]?"
_LOC_IN_WORDS = re.compile(rf"['\"]loc['\"]: [(\[]({_STEP}(?:, ?{_STEP}){{0,7}}),?[)\]]")
_CODES = ("code", "type", "status", "statusCode", "status_code")
#: Names that stand for none.
_NO_NAME = ("", "none", "null")


@dataclass(frozen=True)
class ProviderError:
    """An error in the words of an endpoint."""

    message: str = ""
    code: str = ""  # codes and types, in lower case, separated by spaces
    status: int | None = None  # that its code is or means
    fields: frozenset[str] = frozenset()  # of the request, that it names apart from its words


@dataclass
class _Found:
    words: dict[str, None] = field(default_factory=dict)  # an ordered set
    codes: list[str] = field(default_factory=list)
    fields: set[str] = field(default_factory=set)


def provider_error(body: Any) -> ProviderError | None:
    """The error in a decoded body; None if it holds none."""
    if body is None:
        return None
    found = _Found()
    _walk(body, found, 0)
    status = next(filter(None, map(_status_of, found.codes)), None)
    if not found.words and not found.fields and status is None:
        return None
    return ProviderError(
        message=mask(" ".join("; ".join(found.words).split())[:_READ_CHARACTERS]),
        code=" ".join(found.codes).lower(),
        status=status,
        fields=frozenset(found.fields),
    )


def _walk(value: Any, found: _Found, depth: int) -> None:
    if depth > _DEEPEST:
        return
    if isinstance(value, str):
        inner = decode(value.encode("utf-8", "replace")) if value.lstrip()[:1] in ("{", "[") else None
        if isinstance(inner, dict | list):
            _walk(inner, found, depth + 1)
        elif value.strip():
            found.words.setdefault(value)
            found.fields |= _named_in(value[:_READ_CHARACTERS])
    elif isinstance(value, list):
        for part in value[:_MOST_PARTS]:
            _walk(part, found, depth + 1)
    elif isinstance(value, dict):
        found.codes += [str(value[key]) for key in _CODES if isinstance(value.get(key), str | int)]
        found.fields |= _named(value)
        for key in _HOLDERS:
            _walk(value.get(key), found, depth + 1)


def _named(error: dict[str, Any]) -> set[str]:
    """The fields of the request that an error names."""
    names: set[str] = set()
    for key in _FIELD_KEYS:
        if isinstance(error.get(key), str):
            steps = re.findall(r"\w+", error[key])
            names |= {error[key], *steps[:1], *steps[-1:]}
    for key in _FIELD_LISTS:
        if isinstance(error.get(key), list):
            names |= _first_steps(error[key], whole=key in ("keys", "param"))
    return {name for name in names if name.lower() not in _NO_NAME}


def _named_in(words: str) -> set[str]:
    """The fields of the request that pydantic's errors name, where they were made a text."""
    return {name for loc in _LOC_IN_WORDS.findall(words) for name in _first_steps(re.findall(r"\w+", loc))}


def _first_steps(location: list[Any], whole: bool = False) -> set[str]:
    """The field of a location; what follows is within the field's value, or a type of a union."""
    steps = location[1:] if location[:1] == ["body"] else location
    return {step for step in (steps if whole else steps[:1]) if isinstance(step, str)}


def _status_of(code: str) -> int | None:
    """The status that a code is, or means."""
    if code.isascii() and code.isdigit() and len(code) == 3 and 400 <= int(code) < 600:
        return int(code)
    return _STATUS_OF_CODE.get(code.lower())
