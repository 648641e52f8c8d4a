"""Kinds of failures of responses and verdicts: short names for reasons, which are texts and may quote an endpoint."""

from __future__ import annotations

import re

#: (beginning of a reason, its kind). The kinds before `unparsable` are those of `ChatResult.kind`.
_BEGINNINGS = (
    (r"429: |rate limited: ", "rate_limited"),
    (r"out of quota: ", "quota"),
    (
        r"(5\d\d|408|409|423|424|425|498|499): |the endpoint (reports an error|gave an (empty|incomplete) body)",
        "server_error",
    ),
    (r"timed out after |no connection within ", "timeout"),
    (r"connection dropped", "connection"),
    (r"3\d\d: the endpoint redirects", "redirect"),
    (r"\d\d\d: |the answer is no chat completion|base_url of |the call cannot be made", "refused"),
    (r"refused: ", "model_refusal"),
    (r"unfinished( answer| reasoning|:)", "unfinished"),
    (r"filtered (answer|prompt)", "content_filter"),
    (r"empty answer", "empty"),
    (r"the environment variable ", "missing_key"),
    (r"the answer is larger ", "too_large"),
    (r"the prompt (has |does not fit)|the response has no tokens|the model's chat template ", "does_not_fit"),
    (r"the endpoint cut the prompt", "prompt_cut"),
    (r"unparsable verdict", "unparsable"),
    (r"the probability |the verdict is on |neither ", "unsound"),
    (r"no reference|no certain answer|nothing is known about ", "nothing_to_go_by"),
    (r"given up after ", "given_up"),
    (r"the (backend|judge) \S+ |the backend of |the checker ", "broken"),
)
_KINDS = tuple((re.compile(beginning), kind) for beginning, kind in _BEGINNINGS)

#: Kinds that lie in the texts or the settings: the same call would fail again.
_LASTING = frozenset(
    {
        *("model_refusal", "unfinished", "content_filter", "empty", "too_large", "does_not_fit", "prompt_cut"),
        *("unparsable", "unsound", "nothing_to_go_by"),
    }
)

#: Every kind, including that of unknown reasons.
KINDS = (*dict.fromkeys(kind for _beginning, kind in _BEGINNINGS), "other")


def kind_of(failure: str) -> str:
    """The kind of a stored reason; `other` if it is unknown, for example a plug-in's."""
    return next((kind for beginning, kind in _KINDS if beginning.match(failure)), "other")


def may_pass(failure: str) -> bool:
    """Whether the same call may succeed another time: its endpoint or its worker failed, or nobody knows what did."""
    return kind_of(failure) not in _LASTING
