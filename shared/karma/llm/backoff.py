"""How long a call waits before its next attempt, and when it gives up."""

from __future__ import annotations

import random
import time
from typing import Protocol

from karma.limits.gate import Outcome
from karma.llm.refusals import FailedAttempt
from karma.messages import ModelSpec

_MOST_S = 30.0  # two of them sit out a limit per minute
_SPREAD = 0.2  # share of the backoff that is added to a requested delay
_UNANSWERED_S = 0.5  # until another attempt at an endpoint that answers nobody


class Gate(Protocol):
    """What a call asks the gate of its endpoint (`karma.limits.gate`)."""

    @property
    def shared(self) -> bool:
        """Whether other processes share the circuit breaker."""

    @property
    def is_open(self) -> bool:
        """Whether the circuit breaker is open."""

    def answered_since(self, moment: float) -> bool:
        """Whether the endpoint answered anybody after a moment of the monotonic clock."""


class Backoff:
    """The waits of one call.

    A wait after 429 uses up no retry, up to `rate_limit_wait_s` of waiting in all: an endpoint that says when to come
    back is well. Nor does a failure of the whole endpoint, where workers share its circuit breaker: the call waits
    until it closes, up to `outage_wait_s`. With `max_retries` 0 there is one attempt, whatever it says.

    Args:
        spec: the model's limits.
        gate: of the model's endpoint.
        base_s: longest first wait, doubled with each further one.
    """

    def __init__(self, spec: ModelSpec, gate: Gate, base_s: float) -> None:
        self._spec = spec
        self._gate = gate
        self._base_s = base_s
        self._retries = 0
        self._limited = 0
        self._limited_since = 0.0
        self._waited_s = 0.0
        self._began = time.monotonic()
        #: When the call gives up an endpoint that is down, on the monotonic clock.
        self.until = self._began + spec.outage_wait_s

    def wait_s(self, failed: FailedAttempt) -> float | None:
        """Seconds until the next attempt, which enters the gate; None if there is none."""
        if self._spec.max_retries == 0:
            return None
        if failed.kind == "rate_limited":
            return self._after_429(failed)
        if self._gate.shared and (failed.of_endpoint or (failed.retry and self._gate.is_open)):
            return 0.0 if time.monotonic() < self.until else None
        if not failed.retry:
            return None
        if self._retries == self._spec.max_retries:
            # Nobody was answered since: the breaker will tell whether it is the endpoint or this call.
            waits = self._gate.shared and not self._gate.answered_since(self._began)
            return _UNANSWERED_S if waits and time.monotonic() < self.until else None
        # Full jitter (Brooker 2015): workers that failed together do not retry together.
        longest = min(_MOST_S, self._base_s * 2**self._retries)
        self._retries += 1
        return _requested(failed, longest, random.uniform(0, longest))  # noqa: S311

    def _after_429(self, failed: FailedAttempt) -> float | None:
        longest = min(_MOST_S, self._base_s * 2 ** min(self._limited, 16))
        # At least half: callers that come back at once would keep the limit from passing.
        wait_s = _requested(failed, longest, random.uniform(longest / 2, longest))  # noqa: S311
        now = time.monotonic()
        self._limited_since = self._limited_since or now
        self._limited += 1
        if self._gate.shared:  # the gate waits, for all calls together
            self._waited_s = now - self._limited_since
            return 0.0 if self._waited_s <= self._spec.rate_limit_wait_s else None
        if self._waited_s + wait_s > self._spec.rate_limit_wait_s:
            return None
        self._waited_s += wait_s
        return wait_s

    def given_up(self, failed: FailedAttempt) -> str:
        """What was done before giving up, as the end of a reason; empty if another attempt cannot help."""
        if not failed.retry:
            return ""
        if failed.kind == "rate_limited" and self._spec.max_retries:
            return f" after waiting {self._waited_s:.0f} s (rate_limit_wait_s {self._spec.rate_limit_wait_s:g})"
        return f" after {self._retries} retries"


def outcome_of(failed: FailedAttempt) -> Outcome:
    """What a failed attempt says of its endpoint."""
    wait_s = failed.wait_s or 0.0
    if failed.kind == "rate_limited":
        return Outcome("refused", wait_s=wait_s)
    if failed.of_endpoint or failed.retry:
        reason = " ".join(failed.reason.split())
        return Outcome("failed", wait_s=wait_s, for_good=failed.of_endpoint, kind=failed.kind, reason=reason)
    return Outcome("answered")  # it answered, and refused this request


def _requested(failed: FailedAttempt, longest: float, drawn: float) -> float:
    return drawn if failed.wait_s is None else failed.wait_s + random.uniform(0, longest) * _SPREAD  # noqa: S311
