"""What an endpoint says instead of an answer: the kind of the failure, its words, and whether an attempt can help.

An error comes with a status, or inside an answer of status 200. Its words are untrusted: they are shortened, and what
looks like a key is masked.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from karma.llm.lenient_json import decode, deep_text

_RETRY_AFTER_MOST_S = 300.0  # a longer Retry-After is cut to it
_WAIT_HEADERS = ("Retry-After", "llm_provider-retry-after")  # the second is litellm's, of the provider behind it
_READ_CHARACTERS = 4000

_KEY = re.compile(
    r"\bBearer\s+\S+|\b(?:sk|pk|rk|gsk|hf|xai|ghp|nvapi|key|api[-_]?key)[-_][\w*-]{6,}|\bAIza[\w-]{20,}"
    r"|\b(?=[A-Za-z]*\d)[A-Za-z0-9]{32,}",
    re.IGNORECASE,
)

#: Codes of an error without a number, and the status that means the same.
_STATUS_OF_CODE = {
    **dict.fromkeys(("rate_limit_exceeded", "rate_limit_error", "too_many_requests", "resource_exhausted"), 429),
    **dict.fromkeys(("invalid_request_error", "invalid_request", "badrequesterror", "bad_request"), 400),
    **dict.fromkeys(("authentication_error", "invalid_api_key"), 401),
    **dict.fromkeys(("permission_error", "permission_denied"), 403),
    **dict.fromkeys(("not_found_error", "model_not_found"), 404),
    **dict.fromkeys(("timeout", "timeout_error"), 408),
    **dict.fromkeys(("server_error", "api_error", "internal_error", "internal_server_error"), 500),
    **dict.fromkeys(("overloaded_error", "service_unavailable", "overloaded"), 503),
}

#: Codes only: some providers use the word quota for a limit per minute, which passes.
_QUOTA = re.compile(r"insufficient_(quota|credits|balance|funds)|billing_|quota_exceeded|out_of_credits")
_TOO_LONG = re.compile(
    r"context[ _](length|window|size)|maximum context|(prompt|input|request)( \w+)? (is|are) too (long|large)|n_ctx"
    r"|too many (input |prompt )?tokens|reduce the length|max_tokens.{0,40} is too large|maximum (input|prompt) length",
    re.IGNORECASE,
)
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


@dataclass(frozen=True)
class ProviderError:
    """An error in the words of an endpoint."""

    message: str = ""
    code: str = ""  # codes and types, in lower case, separated by spaces
    status: int | None = None  # that its code is or means
    fields: frozenset[str] = frozenset()  # of the request, that it names apart from its words


def refusal_of(status: int, headers: Mapping[str, str], body: bytes) -> FailedAttempt:
    """The failure of a status other than 200. Redirects are never followed: only configured endpoints are called."""
    if 300 <= status < 400:
        return FailedAttempt(
            "redirect", f"{status}: the endpoint redirects, and redirects are not followed", retry=False
        )
    said = decode(body)
    error = error_in(said if isinstance(said, dict) else {"error": body.decode("utf-8", "replace")}) or ProviderError()
    return failure_of(status, error, _retry_after(headers))


def error_in(answer: Mapping[str, Any]) -> ProviderError | None:
    """The error in a body: OpenAI's `error`, pydantic's `detail`, or a `message`; None if it has none."""
    error = answer.get("error") or answer.get("errors") or answer.get("detail") or answer.get("message")
    if not error:
        return None
    listed = [part for part in (error if isinstance(error, list) else [error]) if isinstance(part, dict)]
    words = [part.get("message") or part.get("msg") or part.get("error") or part for part in listed] or [error]
    codes = [str(part[key]) for part in listed for key in ("code", "type", "status") if part.get(key) is not None]
    locations = [loc[-1] for part in listed if isinstance(loc := part.get("loc"), list) and loc]
    named = {name for name in (*(part.get("param") for part in listed), *locations) if isinstance(name, str)}
    return ProviderError(
        message=mask(" ".join("; ".join(map(deep_text, words)).split())[:_READ_CHARACTERS]),
        code=" ".join(codes).lower(),
        status=next(filter(None, map(_status_of, codes)), None),
        fields=frozenset(named),
    )


def failure_of(status: int | None, error: ProviderError, wait_s: float | None = None) -> FailedAttempt:
    """The failure that an error means. `status` None: it came in an answer of status 200, and its own code decides."""
    status = status or error.status
    passing = status is None or status >= 500 or status in _PASSING
    ordinary = "rate limited" if status == 429 else "server error" if passing else ""
    said = f"{'the endpoint reports an error' if status is None else status}: {error.message or ordinary}"
    named: frozenset[str] | str = (error.fields or error.message) if status in (400, 422) else frozenset()
    if status == 402 or _QUOTA.search(error.code):
        return FailedAttempt("quota", f"out of quota: {said}", retry=False)
    if status == 429 and not _NEVER_FITS.search(error.message):
        return FailedAttempt("rate_limited", said, retry=True, wait_s=wait_s)
    too_long = status == 429 or _TOO_LONG.search(error.message) or "context_length" in error.code
    if too_long and status not in (401, 403, 404):
        return FailedAttempt("does_not_fit", f"the prompt does not fit: {said}", retry=False, named=named)
    if passing:
        return FailedAttempt("server_error", said, retry=True, wait_s=wait_s)
    return FailedAttempt("refused", said, retry=False, named=named)


def mask(text: str) -> str:
    """The text without what looks like a key."""
    return _KEY.sub("***", text)


def _status_of(code: str) -> int | None:
    """The status that a code is, or means."""
    if code.isascii() and code.isdigit() and len(code) == 3 and 400 <= int(code) < 600:
        return int(code)
    return _STATUS_OF_CODE.get(code.lower())


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by a header, which contains seconds or a date; None if there is none that is valid."""
    for name in _WAIT_HEADERS:
        header = headers.get(name, "")
        try:
            wait_s = float(header)
        except ValueError:
            try:
                wait_s = parsedate_to_datetime(header).timestamp() - time.time()
            except (ValueError, OverflowError):
                continue
        if not math.isnan(wait_s):
            return min(_RETRY_AFTER_MOST_S, max(0.0, wait_s))
    return None
