"""The fields of a request in the form that its endpoint accepts.

The pool file decides: a setting is left out (`"default"`) or renamed (`[models.NAME.fields]`), and is then never
changed. Otherwise a field that the endpoint refuses by name is renamed or left out, each form of it once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from karma.llm.refusals import FILTERED, FailedAttempt
from karma.messages import ModelSpec

if TYPE_CHECKING:
    from karma.llm.completions import ChatRequest

_ANY = object()  # in place of a value

#: Field → the name that is sent instead, or the value; None: the field is left out.
Changes = Mapping[str, str | int | None]

#: What is changed first where words name several: what an answer depends on least.
_ORDER = (
    "response_format",
    "logprob_token_ids",
    "top_logprobs",
    "logprobs",
    "seed",
    "top_p",
    "max_tokens",
    "temperature",
)
_NEXT_NAME = {"max_tokens": "max_completion_tokens"}
_LOGPROBS = frozenset(("logprobs", "top_logprobs"))
_FEWER_LOGPROBS = 5  # several endpoints give no more
#: Names of the fields with the servers behind an endpoint, whose words a proxy passes on.
_NAMES = {
    # Of a schema that an endpoint cannot follow, some say `json_schema`, or how they would have followed it.
    "response_format": r"response[ _]?format(?:\.\w+){0,4}|json[ _](?:schema|mode)|structured[ _]outputs?|grammar"
    r"|guided[ _](?:decoding|json)",
    "logprob_token_ids": r"logprob_token_ids(?:\.\w+)?",
    "top_logprobs": r"top_?log_?probs|top_n_tokens",
    "logprobs": r"(?:response_?|sample )?log_?probs|log[ -]prob(?:s|abilities)",
    "seed": r"(?:random_?)?seed",
    "top_p": r"top_?p|p(?= must)",
    "max_tokens": r"max(?:imum)?[ _]?(?:new|output|completion|gen)?[ _]?tokens|num_predict|n_predict|max_gen_len",
    "temperature": r"temperature",
}
_ANSWER_TOO_LONG = re.compile(
    r"max_(completion_|new_)?tokens|((in|for) the|or) (completion|output)|(output|completion) tokens", re.IGNORECASE
)
#: A list of what is accepted, at the end of such words; and one that has a field which every endpoint accepts.
_ACCEPTED = re.compile(
    r"\b(supported|allowed|valid|known|accepted)( (parameter|field|argument|param)s?\b|:).*|\bexpected one of\b.*",
    re.IGNORECASE | re.DOTALL,
)
_LIST = re.compile(r"(?:[`'\"]?\b\w{1,40}[`'\"]?, {0,2}(?:and |or )?){2,}[`'\"]?\w{1,40}")
_TOGETHER_CHARACTERS = 8  # at most between the names of fields that are refused together
_ALWAYS_ACCEPTED = frozenset(("messages", "model"))
#: The request itself, repeated.
_REPEATED = re.compile(r"['\"]input['\"]: ?\{.*", re.DOTALL)
#: The value is wrong, not the name. Under another name a lenient endpoint would ignore it, and nobody would know.
_VALUE_AT_FAULT = re.compile(
    r"range|\bvalue\b|too (large|big|high)|exceeds|at (most|least)|(less|greater|smaller|lower|higher|more) than"
    r"|\s[<>]=? ?[`\d]|[≤≥]|between|(must|should) be|\b(max|min)imum\b|positive|\bmust have\b|取值",
    re.IGNORECASE,
)
_NAME_AT_FAULT = re.compile(
    r"support|unrecogni[sz]ed|unexpected|unknown|extra|permitted|allowed|deprecated|no longer|instead|enabled",
    re.IGNORECASE,
)
#: Words about a value, unless others are about the name.
_MAY_BE_VALUE = re.compile(
    r"\d|\binvalid(?!.{0,2}(param|arg|field|key|name|request))|illegal|wrong|\bnumber\b|\breduce\b|\blower\b|不合法|非法",
    re.IGNORECASE,
)
_STATUS = re.compile(r"^\d{3}: |<\d{3}>")
#: A refusal that has a list of what is accepted.
_HAS_LIST = re.compile(r"\bonly\b|support|allow|accept|valid|permit", re.IGNORECASE)


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
    """Fields by the names and with the values that the endpoint accepts, without those that are left out."""
    sent = {}
    for field, value in fields.items():
        change = spec.fields.get(field, changes.get(field, field))
        if isinstance(change, int):
            sent[field] = change
        elif change is not None:
            sent[change] = value
    return sent


def dropped(spec: ModelSpec, request: ChatRequest, changes: Changes) -> tuple[str, ...]:
    """The fields of a request that are left out because the endpoint refused them."""
    if not changes:
        return ()
    return tuple(field for field in _changeable(spec, request) if changes.get(field, field) is None)


def next_changes(spec: ModelSpec, request: ChatRequest, changes: Changes, refusal: FailedAttempt) -> Changes:
    """Further changes after a refusal that names fields, empty if none can help."""
    asked = _changeable(spec, request)
    sent = {field: change for field in asked if (change := changes.get(field, field)) is not None}
    if refusal.kind == "does_not_fit":
        # The prompt may fit without room for a whole answer: what is left is then less than max_tokens.
        return {"max_tokens": None} if "max_tokens" in sent and _ANSWER_TOO_LONG.search(refusal.reason) else {}
    chosen = _refused(refusal, sent)
    value_at_fault = _is_value_at_fault(refusal.reason)
    if chosen & _LOGPROBS:
        if value_at_fault and sent.get("top_logprobs") == "top_logprobs" and asked["top_logprobs"] > _FEWER_LOGPROBS:
            return {"top_logprobs": _FEWER_LOGPROBS}
        chosen |= _LOGPROBS & sent.keys()
    return {
        field: _NEXT_NAME.get(field) if sent[field] == field and not value_at_fault else None
        for field in _ORDER
        if field in chosen
    }


#: Fields that are left out whatever their value: an endpoint has them, or it has not.
_WHATEVER_VALUE = frozenset(("seed", "response_format", "logprob_token_ids"))


class Lessons:
    """What an endpoint's model accepts. A name holds for every value; a field that is left out, for the value sent."""

    def __init__(self) -> None:
        self._learnt: dict[tuple[str, Any], str | int | None] = {}

    def changes(self, spec: ModelSpec, request: ChatRequest) -> Changes:
        """The changes that a request needs."""
        if not self._learnt:
            return {}
        changes = {}
        for field, value in _changeable(spec, request).items():
            known = ((field, _ANY),) if field in _WHATEVER_VALUE else ((field, _ANY), (field, value))
            for key in known:
                if key in self._learnt:
                    changes[field] = self._learnt[key]
        return changes

    def keep(self, spec: ModelSpec, request: ChatRequest, helped: Changes) -> Changes:
        """Keep the changes that helped a request; returns those that are new."""
        asked = _changeable(spec, request)
        new = {}
        for field, change in helped.items():
            key = (field, _ANY if isinstance(change, str) or field in _WHATEVER_VALUE else asked[field])
            if self._learnt.get(key, field) != change:
                self._learnt[key] = change
                new[field] = change
        return new


def _changeable(spec: ModelSpec, request: ChatRequest) -> dict[str, Any]:
    asked = {**own_fields(spec, request), **request.extra}
    return {field: asked[field] for field in _ORDER if field in asked and field not in spec.fields}


def _refused(refusal: FailedAttempt, sent: Changes) -> set[str]:
    """The fields of those sent that a refusal is about: all that it names apart, or the first one in its words."""
    if isinstance(refusal.named, frozenset):
        return {field for field in sent if any(_is_name(field, sent[field], name) for name in refusal.named)}
    if FILTERED.search(refusal.named):
        return set()
    words = _REPEATED.sub("", refusal.named)
    accepted = {name for each in _LIST.findall(words) if _ALWAYS_ACCEPTED & (names := _names(each)) for name in names}
    rest = _ACCEPTED.sub("", _LIST.sub(lambda each: "" if _ALWAYS_ACCEPTED & _names(each[0]) else each[0], words))
    if first := _first_named(sent, rest):
        return {first}
    if not accepted or not _HAS_LIST.search(words):
        return set()
    return {field for field, name in sent.items() if (name if isinstance(name, str) else field) not in accepted}


def _names(words: str) -> set[str]:
    return set(re.findall(r"\w+", words))


def _is_name(field: str, sent: str | int | None, name: str) -> bool:
    return name == sent or bool(re.fullmatch(_NAMES[field], name, re.IGNORECASE))


def _first_named(sent: Changes, words: str) -> str | None:
    """The field that words name first; of several together (`temperature` and `top_p`) the first of `_ORDER`."""
    mentions = sorted((*span, field) for field in sent if (span := _mention(field, sent[field], words)))
    together: list[str] = []
    reach = 0
    for begin, end, field in mentions:
        if together and begin - reach > _TOGETHER_CHARACTERS:
            break
        together.append(field)
        reach = end
    return min(together, key=_ORDER.index, default=None)


def _mention(field: str, sent: str | int | None, words: str) -> tuple[int, int] | None:
    """Where words name a field first; in `bytedance-seed/seed-oss` no field is named."""
    names = f"{_NAMES[field]}|{re.escape(sent)}" if isinstance(sent, str) else _NAMES[field]
    found = re.search(rf"(?<![A-Za-z0-9_-])(?:{names})(?![A-Za-z0-9_-])(?!/\w)", words, re.IGNORECASE)
    return found and found.span()


def _is_value_at_fault(words: str) -> bool:
    if "max_completion_tokens" in words and "top_logprobs" not in words:
        return False
    words = _STATUS.sub("", words)
    return bool(_VALUE_AT_FAULT.search(words) or (_MAY_BE_VALUE.search(words) and not _NAME_AT_FAULT.search(words)))
