"""How long a call waits before its next attempt, and when it gives up."""

from __future__ import annotations

import random

from karma.llm.refusals import FailedAttempt
from karma.messages import ModelSpec

_MOST_S = 30.0  # two of them sit out a limit per minute
_SPREAD = 0.2  # share of the backoff that is added to a requested delay


class Backoff:
    """The waits of one call.

    A wait after 429 uses up no retry, up to `rate_limit_wait_s` of waiting in all: an endpoint that says when to come
    back is well. With `max_retries` 0 there is one attempt, whatever it says.

    Args:
        spec: the model's limits.
        base_s: longest first wait, doubled with each further one.
    """

    def __init__(self, spec: ModelSpec, base_s: float) -> None:
        self._spec = spec
        self._base_s = base_s
        self._retries = 0
        self._limited = 0
        self._waited_s = 0.0

    def wait_s(self, failed: FailedAttempt) -> float | None:
        """Seconds until the next attempt; None if there is none."""
        if not failed.retry or self._spec.max_retries == 0:
            return None
        if failed.kind == "rate_limited":
            longest = min(_MOST_S, self._base_s * 2 ** min(self._limited, 16))
            # At least half: callers that come back at once would keep the limit from passing.
            wait_s = _requested(failed, longest, random.uniform(longest / 2, longest))  # noqa: S311
            if self._waited_s + wait_s > self._spec.rate_limit_wait_s:
                return None
            self._limited += 1
            self._waited_s += wait_s
            return wait_s
        if self._retries == self._spec.max_retries:
            return None
        # Full jitter (Brooker 2015): workers that failed together do not retry together.
        longest = min(_MOST_S, self._base_s * 2**self._retries)
        self._retries += 1
        return _requested(failed, longest, random.uniform(0, longest))  # noqa: S311

    def given_up(self, failed: FailedAttempt) -> str:
        """What was done before giving up, as the end of a reason; empty if another attempt cannot help."""
        if not failed.retry:
            return ""
        if failed.kind == "rate_limited" and self._spec.max_retries:
            return f" after waiting {self._waited_s:.0f} s (rate_limit_wait_s {self._spec.rate_limit_wait_s:g})"
        return f" after {self._retries} retries"


def _requested(failed: FailedAttempt, longest: float, drawn: float) -> float:
    return drawn if failed.wait_s is None else failed.wait_s + random.uniform(0, longest) * _SPREAD  # noqa: S311
