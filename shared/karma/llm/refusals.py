"""What an endpoint says instead of an answer: the kind of the failure, its words, and whether an attempt can help.

An error comes with a status, or inside an answer of status 200. Its words are untrusted: they are shortened, and what
looks like a key is masked.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from karma.llm.key_masking import mask
from karma.llm.lenient_json import decode
from karma.llm.provider_errors import ProviderError, provider_error

_RETRY_AFTER_MOST_S = 300.0  # a longer Retry-After is cut to it
#: OpenAI's own is in milliseconds; the last is litellm's, of the provider behind it.
_WAIT_HEADERS = {"retry-after-ms": 1e-3, "Retry-After": 1.0, "llm_provider-retry-after": 1.0}

#: Codes only: some providers use the word quota for a limit per minute, which passes.
_QUOTA = re.compile(
    r"insufficient_(user_)?(quota|credits|balance|funds)|billing_|quota_exceeded|exceeded_current_quota"
    r"|budget_exceeded|out_of_credits"
)
_QUOTA_WORDS = re.compile(
    r"insufficient (account )?balance|credit balance is too low|used all available credits|monthly spending limit"
    r"|budget has been exceeded|account .{0,80}suspended",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"context[ _]?(length|window|size|limit)|maximum context|(prompt|input|request)( \w+)? (is|are) too (long|large)"
    r"|n_ctx|too many (input |prompt )?tokens|reduce the length|max_tokens.{0,40} is too large"
    r"|maximum (input |prompt |model |sequence |allowed )?length|exceeds the maximum number of tokens|input token count"
    r"|exceeds max length|model token limit|range of input length|max_new_tokens.{0,20} must be"
    r"|inputs.{0,3} must have less",
    re.IGNORECASE,
)
#: A reasoning model used up its tokens before an answer: nothing is wrong with the request.
_UNFINISHED = re.compile(r"could not finish the message|output limit was reached", re.IGNORECASE)
#: Larger than a limit per minute: no wait makes room for it.
_NEVER_FITS = re.compile(r"request too large", re.IGNORECASE)

#: Another attempt can help: a time-out, a model that is being loaded, a request that came too early.
_PASSING = (408, 409, 425)


class FailedAttempt(Exception):  # noqa: N818 - it carries a result
    """One attempt failed.

    Attributes:
        kind: one of `ChatResult.kind`.
        reason: it may quote the endpoint.
        retry: whether another attempt may succeed.
        wait_s: the delay that the endpoint requested.
        named: what a refusal of the request names: names of fields that stand by themselves, or else its words.
    """

    def __init__(
        self,
        kind: str,
        reason: str,
        retry: bool,
        wait_s: float | None = None,
        named: frozenset[str] | str = frozenset(),
    ) -> None:
        super().__init__(reason)
        self.kind, self.reason, self.retry, self.wait_s, self.named = kind, reason, retry, wait_s, named


def refusal_of(status: int, headers: Mapping[str, str], body: bytes) -> FailedAttempt:
    """The failure of a status other than 200. Redirects are never followed: only configured endpoints are called."""
    if 300 <= status < 400:
        return FailedAttempt(
            "redirect", f"{status}: the endpoint redirects, and redirects are not followed", retry=False
        )
    said = decode(body)
    error = provider_error(said) if isinstance(said, dict | list) else None
    if error is None or not error.message:
        text = mask(" ".join(body.decode("utf-8", "replace").split()))
        error = ProviderError(text or _phrase(status), error.code if error else "", error.status if error else None)
    return failure_of(status, error, _retry_after(headers))


def failure_of(status: int | None, error: ProviderError, wait_s: float | None = None) -> FailedAttempt:
    """The failure that an error means. `status` None: it came in an answer of status 200, and its own code decides."""
    status = status or error.status
    passing = status is None or status >= 500 or status in _PASSING
    ordinary = "rate limited" if status == 429 else "server error" if passing else ""
    said = f"{'the endpoint reports an error' if status is None else status}: {error.message or ordinary}"
    refuses_fields = status in (400, 422) or (status == 403 and "logprobs" in error.message.lower())
    named: frozenset[str] | str = (error.fields or error.message) if refuses_fields else frozenset()
    if status == 402 or _QUOTA.search(error.code) or _QUOTA_WORDS.search(error.message):
        return FailedAttempt("quota", f"out of quota: {said}", retry=False)
    if status == 429 and not _NEVER_FITS.search(error.message):
        return FailedAttempt("rate_limited", said, retry=True, wait_s=wait_s)
    if _UNFINISHED.search(error.message):
        return FailedAttempt("unfinished", f"unfinished: {said} (raise max_tokens)", retry=False)
    too_long = status in (413, 429) or _TOO_LONG.search(error.message) or "context_length" in error.code
    if too_long and status not in (401, 403, 404):
        return FailedAttempt("does_not_fit", f"the prompt does not fit: {said}", retry=False, named=named)
    if passing:
        return FailedAttempt("server_error", said, retry=True, wait_s=wait_s)
    return FailedAttempt("refused", said, retry=False, named=named)


def _phrase(status: int) -> str:
    """The name of a status, for a refusal without words; nothing where `failure_of` has words of its own."""
    if status >= 500 or status in (429, *_PASSING):
        return ""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "no reason is given"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by a header, which contains seconds or a date; None if there is none that is valid."""
    for name, unit_s in _WAIT_HEADERS.items():
        header = headers.get(name, "").strip()
        try:
            wait_s = float(header.removesuffix("s")) * unit_s
        except ValueError:
            try:
                wait_s = parsedate_to_datetime(header).timestamp() - time.time()
            except (ValueError, OverflowError):
                continue
        if not math.isnan(wait_s):
            return min(_RETRY_AFTER_MOST_S, max(0.0, wait_s))
    return None
