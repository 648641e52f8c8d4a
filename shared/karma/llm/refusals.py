"""What an endpoint says instead of an answer: the kind of the failure, its words, and whether an attempt can help.

An error comes with a status, or inside an answer of status 200. Its words are untrusted: they are shortened, and what
looks like a key is masked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus

from karma.llm.event_stream import decoded
from karma.llm.key_masking import mask
from karma.llm.limit_headers import MOST_S, requested_wait_s, used_up_s
from karma.llm.provider_errors import ProviderError, provider_error
from karma.llm.token_usage import NO_USAGE

#: Seconds to wait in words: `Please try again in 1m26.4s`, `Please retry after 6 seconds`.
_WAIT_WORDS = re.compile(
    r"(?:try again|retry)(?: your request)? (?:in|after) (?:(\d{1,4}) ?h(?:ours?)? ?)?"
    r"(?:(\d{1,4}) ?m(?!s)(?:in(?:utes?)?)? ?)?(?:(\d{1,6}(?:\.\d{1,9})?) ?(ms|s))?",
    re.IGNORECASE,
)

#: Codes only: some providers use the word quota for a limit per minute, which passes.
_QUOTA = re.compile(
    r"insufficient_(user_)?(quota|credits|balance|funds)|billing_|quota_exceeded|exceeded_current_quota"
    r"|budget_exceeded|out_of_credits|arrearage|overdue"
)
_QUOTA_WORDS = re.compile(
    r"insufficient (account )?(balance|credits|funds)|credit balance is too low|used all available credits"
    r"|monthly spending limit|budget has been exceeded|over budget|account .{0,80}suspended|overdue balance"
    r"|account is in good standing|n[o't]+ have (any|enough) credits|specified API usage limits|余额不足|欠费",
    re.IGNORECASE,
)
#: A limit per minute that has the code of a spent quota.
_QUOTA_PASSES = re.compile(r"(?<!free )allocated quota exceeded|\b(tokens|requests) per min|\b[TR]PM\b", re.IGNORECASE)
#: A limit of a rate under another status than 429, as proxies give it.
_RATE_WORDS = re.compile(
    r"Throttling(Exception|Error)|too many requests|wait before trying again|RateLimitError", re.IGNORECASE
)
#: The prompt was refused for what it is about; its words may be quoted.
_FILTERED_CODE = re.compile(
    r"content_(filter|policy|moderation)|data_?inspection|responsibleai|invalid_prompt|moderation|sensitive\b|\b1301\b"
)
FILTERED = re.compile(
    r"content[ _](management|filter|moderation|policy)|content exists risk|inappropriate content|considered high risk"
    r"|requires moderation|\bflagged\b|safety system|敏感内容|不安全",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"(?<!less than the )(?<!less than the `)context[ _]?(length|window|size|limit)|maximum context"
    r"|(prompt|input|request)( \w+)? (is|are) too (long|large|big)|n_ctx|too many (input |prompt )?tokens(?!: max)"
    r"|reduce the length|maximum (input |prompt |model |sequence |allowed )?length"
    r"|exceeds? the (maximum|configured) (number|limit) of (\d+ )?tokens|input token count|exceeds max length"
    r"|model token limit|range of input length|tokens.{0,3} \+ .{0,3}max_new_tokens|inputs.{0,3} must have less",
    re.IGNORECASE,
)
#: A reasoning model used up its tokens before an answer: nothing is wrong with the request.
_UNFINISHED = re.compile(r"could not finish the message|output limit was reached", re.IGNORECASE)
#: Larger than a limit per minute: no wait makes room for it.
_NEVER_FITS = re.compile(r"request too large", re.IGNORECASE)

#: Another attempt can help: a time-out, a model that is being loaded, a request that came too early, a server behind a
#: proxy that failed (TGI and Bedrock say 424), no capacity (Groq), a connection that a proxy gave up.
_PASSING = (408, 409, 423, 424, 425, 498, 499)

#: Refusals of whoever asks, or of the model that is asked for, whatever the prompt is.
_OF_ENDPOINT = (401, 403, 404)

#: Beginnings of reasons, which `karma.telemetry.failure_kinds` reads.
_BEFORE = {
    "quota": "out of quota: ",
    "content_filter": "filtered prompt: ",
    "unfinished": "unfinished: ",
    "does_not_fit": "the prompt does not fit: ",
}


class FailedAttempt(Exception):  # noqa: N818 - it carries a result
    """One attempt failed.

    Attributes:
        kind: one of `ChatResult.kind`.
        reason: it may quote the endpoint.
        retry: whether another attempt may succeed.
        wait_s: the delay that the endpoint requested.
        named: what a refusal of the request names: names of fields that stand by themselves, or else its words.
        of_endpoint: whether every other request would be refused too: a key, a quota, an unknown model, a redirect.
        usage: its tokens, where the endpoint says them: they may have to be paid for.
    """

    def __init__(
        self,
        kind: str,
        reason: str,
        retry: bool,
        wait_s: float | None = None,
        named: frozenset[str] | str = frozenset(),
        of_endpoint: bool = False,
    ) -> None:
        super().__init__(reason)
        self.kind, self.reason, self.retry, self.wait_s, self.named = kind, reason, retry, wait_s, named
        self.of_endpoint = of_endpoint
        self.usage = NO_USAGE


def refusal_of(status: int, headers: Mapping[str, str], body: bytes) -> FailedAttempt:
    """The failure of a status other than 200. Redirects are never followed: only configured endpoints are called."""
    if 300 <= status < 400:
        return FailedAttempt(
            "redirect",
            f"{status}: the endpoint redirects, and redirects are not followed",
            retry=False,
            of_endpoint=True,
        )
    said = decoded(body)
    error = provider_error(said) if isinstance(said, dict | list) else None
    if error is None or not error.message:
        text = mask(" ".join(body.decode("utf-8", "replace").split()))
        error = ProviderError(text or _phrase(status), error.code if error else "", error.status if error else None)
    return failure_of(status, error, _wait_s(headers))


def failure_of(status: int | None, error: ProviderError, wait_s: float | None = None) -> FailedAttempt:
    """The failure that an error means. `status` None: it came in an answer of status 200, and its own code decides."""
    status = status or error.status
    kind = _kind(status, error)
    ordinary = {"rate_limited": "rate limited", "server_error": "server error"}.get(kind, "")
    said = f"{'the endpoint reports an error' if status is None else status}: {error.message or ordinary}"
    before = "rate limited: " if kind == "rate_limited" and status != 429 else _BEFORE.get(kind, "")
    retry = kind in ("rate_limited", "server_error")
    refuses_fields = status in (400, 422, 501) or (status == 403 and "logprobs" in error.message.lower())
    teaches = refuses_fields and kind in ("refused", "does_not_fit", "server_error")
    named: frozenset[str] | str = (error.fields or error.message) if teaches else frozenset()
    after = " (raise max_tokens)" if kind == "unfinished" else ""
    if wait_s is None and kind == "rate_limited":
        wait_s = _wait_in(error.message)
    of_endpoint = kind == "quota" or (kind == "refused" and status in _OF_ENDPOINT and not teaches)
    return FailedAttempt(kind, f"{before}{said}{after}", retry, wait_s if retry else None, named, of_endpoint)


def _kind(status: int | None, error: ProviderError) -> str:
    """The kind of a failure; the first that holds."""
    words = error.message
    too_long = status in (413, 429) or _TOO_LONG.search(words) or "context_length" in error.code
    filtered = _FILTERED_CODE.search(error.code) or FILTERED.search(words)
    limited = _RATE_WORDS.search(f"{error.code} {words}") and status not in (401, 404, 413, 429)
    spent = _QUOTA.search(error.code) or _QUOTA_WORDS.search(words)
    holds = {
        "quota": status == 402 or (spent and not (status == 429 and _QUOTA_PASSES.search(words))),
        "rate_limited": limited or (status == 429 and not _NEVER_FITS.search(words)),
        "content_filter": filtered and status in (400, 403, 422, 451),
        "unfinished": _UNFINISHED.search(words),
        "does_not_fit": too_long and status not in (401, 403, 404),
        "server_error": status is None or status >= 500 or status in _PASSING,
    }
    return next((kind for kind, does in holds.items() if does), "refused")


def _wait_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by the headers; None if they say none."""
    asked_s = requested_wait_s(headers)
    return asked_s if asked_s is not None else used_up_s(headers) or None


def _wait_in(words: str) -> float | None:
    """Seconds to wait by an endpoint's words; None if they say none."""
    for match in _WAIT_WORDS.finditer(words):
        hours, minutes, number, unit = match.groups()
        if hours or minutes or number:
            seconds = float(number or 0) * (1e-3 if unit == "ms" else 1)
            return min(MOST_S, int(hours or 0) * 3600 + int(minutes or 0) * 60 + seconds)
    return None


def _phrase(status: int) -> str:
    """The name of a status, for a refusal without words; nothing where `failure_of` has words of its own."""
    if status >= 500 or status in (429, *_PASSING):
        return ""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "no reason is given"
