"""What an endpoint's headers say about its limits: seconds to wait, and seconds until a used-up limit is reset.

Providers write the same thing in many ways. A reset is a number of seconds, a duration such as `6m0s` or `17ms`, a date
(RFC 3339), or seconds or milliseconds since 1970. Headers are untrusted: what cannot be read is ignored, and no wait is
longer than `MOST_S`.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

#: A longer wait is cut to it, seconds.
MOST_S = 300.0

#: OpenAI's and Azure's own are in milliseconds; the last are litellm's, of the provider behind it.
_WAIT_HEADERS = {
    "retry-after-ms": 1e-3,
    "x-ms-retry-after-ms": 1e-3,
    "Retry-After": 1.0,
    "llm_provider-retry-after-ms": 1e-3,
    "llm_provider-retry-after": 1.0,
}

#: (What is left, when it is full again): of OpenAI, Azure, Groq and others; Anthropic; the IETF's draft; OpenRouter.
#: litellm's proxy puts its own word before the headers of the provider behind it.
_LIMIT_HEADERS = [
    (before + left.format(kind), before + reset.format(kind))
    for left, reset in (
        ("x-ratelimit-remaining-{}", "x-ratelimit-reset-{}"),
        ("anthropic-ratelimit-{}-remaining", "anthropic-ratelimit-{}-reset"),
    )
    for kind in ("requests", "tokens")
    for before in ("", "llm_provider-")
] + [("ratelimit-remaining", "ratelimit-reset"), ("x-ratelimit-remaining", "x-ratelimit-reset")]

_DURATION = re.compile(r"(?:(\d{1,4})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,15}(?:\.\d{1,9})?)(ms|s)?)?")
#: A larger number is a moment since 1970, in seconds, or beyond the second in milliseconds.
_MOMENT_S, _MOMENT_MS = 1e8, 1e11


def requested_wait_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by `Retry-After` and its kin, which contain seconds or a date; None if none is valid."""
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
            return min(MOST_S, max(0.0, wait_s))
    return None


def used_up_s(headers: Mapping[str, str]) -> float:
    """Seconds until the last of those limits is reset of which nothing is left; 0 where none is used up."""
    waits = [0.0]
    for left, reset in _LIMIT_HEADERS:
        if (number := headers.get(left)) is not None and _is_none(number):
            waits.append(_until(headers.get(reset, "").strip()))
    return min(MOST_S, max(waits))


def _is_none(left: str) -> bool:
    try:
        return float(left) <= 0.0
    except ValueError:
        return False


def _until(said: str) -> float:
    """Seconds until a reset; 0 where it cannot be read."""
    match = _DURATION.fullmatch(said)
    if match and said:
        days, hours, minutes, number, unit = match.groups()
        seconds = float(number or 0) * (1e-3 if unit == "ms" else 1.0)
        if unit is None and seconds > _MOMENT_S:
            seconds = seconds * (1e-3 if seconds > _MOMENT_MS else 1.0) - time.time()
        return max(0.0, ((int(days or 0) * 24 + int(hours or 0)) * 60 + int(minutes or 0)) * 60 + seconds)
    try:
        return max(0.0, datetime.fromisoformat(said).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0
