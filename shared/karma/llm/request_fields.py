"""The fields of a request in the form that its endpoint accepts.

The pool file decides: a setting is left out (`"default"`) or renamed (`[models.NAME.fields]`), and is then never
changed. Otherwise a field that the endpoint refuses by name is renamed or left out, each form of it once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from karma.llm.refusals import FailedAttempt
from karma.messages import ModelSpec

if TYPE_CHECKING:
    from karma.llm.completions import ChatRequest

#: Field → the name that is sent instead; None: the field is left out.
Changes = Mapping[str, str | None]

#: What is changed first where words name several: what an answer depends on least.
_ORDER = ("top_logprobs", "logprobs", "seed", "top_p", "max_tokens", "temperature")
_NEXT_NAME = {"max_tokens": "max_completion_tokens"}
_TOGETHER = ({"logprobs", "top_logprobs"},)
_ANSWER_TOO_LONG = re.compile(
    r"max_(completion_|new_)?tokens|(in|for) the (completion|output)|(output|completion) tokens", re.IGNORECASE
)
#: What words say that refuse a field; a prompt's own words may be quoted in a refusal of another kind.
_REFUSES = re.compile(
    r"n[o't]+ (be )?(support|allowed|permitted|enabled|available)|unsupport|unrecogni[sz]ed|unexpected|unknown|extra"
    r"|\bonly\b|cannot both|must be|deprecated|range|invalid|no longer",
    re.IGNORECASE,
)
#: A list of what is accepted, at the end of such words.
_ACCEPTED = re.compile(
    r"\b(supported|allowed|valid|known|accepted) (parameter|field|argument|param)s?\b.*", re.IGNORECASE | re.DOTALL
)
#: The value is wrong, not the name. Under another name a lenient endpoint would ignore it, and nobody would know.
_VALUE_AT_FAULT = re.compile(r"range|\bvalue\b|too (large|big)|exceeds|at most|less than", re.IGNORECASE)


def own_fields(spec: ModelSpec, request: ChatRequest) -> dict[str, Any]:
    """KARMA's fields of a request by their own names, without those that the pool file leaves out."""
    values = {
        "temperature": spec.temperature,
        "top_p": spec.top_p,
        "max_tokens": spec.max_tokens,
        "seed": request.seed & 0x7FFFFFFF if spec.seed == "own" else "default",  # some servers keep seeds in 32 bits
    }
    return {name: value for name, value in values.items() if value != "default" and name not in spec.options}


def renamed(spec: ModelSpec, fields: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    """Fields by the names that the endpoint accepts, without those that are left out."""
    names = {field: spec.fields.get(field, changes.get(field, field)) for field in fields}
    return {name: fields[field] for field, name in names.items() if name is not None}


def dropped(spec: ModelSpec, request: ChatRequest, changes: Changes) -> tuple[str, ...]:
    """The fields of a request that are left out because the endpoint refused them."""
    return tuple(field for field in _changeable(spec, request) if changes.get(field, field) is None)


def next_changes(spec: ModelSpec, request: ChatRequest, changes: Changes, refusal: FailedAttempt) -> Changes:
    """Further changes after a refusal that names fields, empty if none can help."""
    sent = {field: name for field in _changeable(spec, request) if (name := changes.get(field, field)) is not None}
    if refusal.kind == "does_not_fit":
        # The prompt may fit without room for a whole answer: what is left is then less than max_tokens.
        return {"max_tokens": None} if "max_tokens" in sent and _ANSWER_TOO_LONG.search(refusal.reason) else {}
    named = [field for field in _ORDER if field in sent and _names(refusal, field, sent[field])]
    if not named:
        return {}
    chosen = set(named) if isinstance(refusal.named, frozenset) else {named[0]}
    for group in _TOGETHER:
        chosen |= group & sent.keys() if chosen & group else set()
    renames = "max_completion_tokens" in refusal.reason or not _VALUE_AT_FAULT.search(refusal.reason)
    return {field: _NEXT_NAME.get(field) if renames and sent[field] == field else None for field in chosen}


def _changeable(spec: ModelSpec, request: ChatRequest) -> list[str]:
    asked = {**own_fields(spec, request), **request.extra}
    return [field for field in _ORDER if field in asked and field not in spec.fields]


def _names(refusal: FailedAttempt, field: str, name: str) -> bool:
    if isinstance(refusal.named, frozenset):
        return not refusal.named.isdisjoint((field, name))
    words = _ACCEPTED.sub("", refusal.named)
    return bool(_REFUSES.search(words) and re.search(rf"\b(?:{field}|{name})\b", words, re.IGNORECASE))
