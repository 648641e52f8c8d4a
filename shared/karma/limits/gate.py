"""The gate of an endpoint in one process: each attempt of a call enters it, and leaves it with what came of it.

Calls that may begin at once pass without any exchange, so that the cost of one is spread over many.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Literal, NamedTuple

from karma.errors import OutageError
from karma.lease import Lease
from karma.limits.state import Grant, Report, Settings

#: Exchanges with an endpoint's state; raises `OutageError` while it is unavailable.
Exchange = Callable[[str, Report, Settings], Grant]

#: `go`: the call may begin. `stop`: its lease ended. `down`: the endpoint was down for longer than it may wait.
Entry = Literal["go", "stop", "down"]

#: Seconds between two looks at the leases of calls that wait.
_LOOK_S = 0.5
#: Seconds until another exchange: after one that failed, after all calls ended, and where a failure or more calls than
#: were asked for are to be reported.
_OUTAGE_S = 0.5
_LINGER_S = 0.25
_SOON_S = 0.02
#: Seconds after which a beginning that was granted and not used is dropped.
_STALE_S = 1.0
#: Weight of a new call in the expected tokens of one.
_NEW = 0.05

log = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """What came of an attempt."""

    result: Literal["answered", "refused", "failed"]
    latency_s: float = 0.0
    tokens: int | None = None
    wait_s: float = 0.0  # that the endpoint asked for
    for_good: bool = False
    kind: str = ""
    reason: str = ""


class _Waiter(NamedTuple):
    future: asyncio.Future[Entry]
    lease: Lease
    until: float | None  # most time to wait for an endpoint that is down, on the loop's clock


class Gate:
    """Lets calls of one endpoint begin. All methods run in the event loop.

    Args:
        endpoint: its id (`karma.limits.state.endpoint_of`), and `settings` its limits.
        exchange: with what all processes share; `executor` runs it, as it may block.
    """

    def __init__(self, endpoint: str, settings: Settings, exchange: Exchange, executor: Executor) -> None:
        self._endpoint, self._settings, self._exchange, self._executor = endpoint, settings, exchange, executor
        self._grant = Grant(slots=0, paced=True)
        self._report = Report()
        self._in_progress = 0
        self._waiters: deque[_Waiter] = deque()
        self._starts: deque[float] = deque()
        self._tokens_per_call = self._call_s = 0.0
        self._answered_at = float("-inf")
        self._exchange_at = 0.0
        self._exchanged_at = float("-inf")
        self._satisfied = True  # whether the last exchange granted all that was asked for
        self._looked_at = 0.0
        self._wake = asyncio.Event()
        self._sleeps_until = float("-inf")
        self._task: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the circuit breaker was open at the last exchange."""
        return self._grant.open

    @property
    def shared(self) -> bool:
        """Whether other processes share the limits, and the circuit breaker."""
        return self._exchange is not unshared

    @property
    def down(self) -> tuple[str, str]:
        """The kind and the reason of the failure that opened the circuit breaker."""
        return self._grant.kind or "connection", self._grant.reason or "the endpoint is down"

    @property
    def limit(self) -> int:
        """Calls that this process may have in progress."""
        return self._grant.slots

    def answered_since(self, moment: float) -> bool:
        """Whether the endpoint answered any process after a moment of the loop's clock."""
        return self._answered_at > moment

    async def enter(self, lease: Lease, expected_tokens: int = 0, until: float | None = None) -> Entry:
        """Wait until an attempt may begin. After `go`, `leave` must follow."""
        if not self._tokens_per_call:
            self._tokens_per_call = float(expected_tokens)
        loop = asyncio.get_running_loop()
        if not self._waiters and self._may_start(loop.time()) and lease() == "go":
            self._start(loop.time())
            return "go"
        waiter = _Waiter(loop.create_future(), lease, until)
        self._waiters.append(waiter)
        if self._satisfied:
            self._hasten()
        self._run_soon()
        try:
            return await waiter.future
        except asyncio.CancelledError:
            if waiter.future.done() and not waiter.future.cancelled() and waiter.future.result() == "go":
                self._in_progress -= 1
            self._waiters = deque(other for other in self._waiters if other is not waiter)
            raise

    def leave(self, outcome: Outcome) -> None:
        """Say what came of an attempt."""
        self._in_progress -= 1
        report = self._report
        match outcome.result:
            case "answered":
                report.answered += 1
                report.latency_s += outcome.latency_s
                self._call_s += (_NEW if self._call_s else 1.0) * (outcome.latency_s - self._call_s)
                self._answered_at = asyncio.get_running_loop().time()
            case "refused":
                report.refused += 1
            case "failed":
                report.failed += 1
                report.for_good = report.for_good or outcome.for_good
                report.kind, report.reason = outcome.kind, outcome.reason
        report.wait_s = max(report.wait_s, outcome.wait_s)
        if outcome.tokens is not None:
            report.token_correction += outcome.tokens - self._tokens_per_call
            self._tokens_per_call += _NEW * (outcome.tokens - self._tokens_per_call)
        if outcome.wait_s or outcome.for_good:
            self._grant.paced, self._exchange_at = True, 0.0  # nothing more begins before the others know
            report.dropped += len(self._starts)
            self._starts.clear()
        elif outcome.result != "answered":
            self._hasten()
        self._admit()
        self._run_soon()

    def note(self, outcome: Outcome) -> None:
        """Say what came of an attempt that could not begin."""
        self._in_progress += 1
        self.leave(outcome)

    def cancel(self) -> None:
        """End an attempt of which nothing is known."""
        self._in_progress -= 1
        self._run_soon()

    def _hasten(self) -> None:
        self._exchange_at = min(self._exchange_at, self._exchanged_at + _SOON_S)

    def _may_start(self, now: float) -> bool:
        if self._in_progress >= self._grant.slots:
            return False
        return not self._grant.paced or bool(self._starts and self._starts[0] <= now)

    def _start(self, now: float) -> None:
        if self._grant.paced:
            self._starts.popleft()
        self._in_progress += 1

    def _admit(self) -> None:
        """Let those calls begin that may."""
        now = asyncio.get_running_loop().time()
        while self._starts and self._starts[0] < now - _STALE_S:
            self._starts.popleft()
        passed_over = []
        while self._waiters and self._may_start(now):
            waiter = self._waiters.popleft()
            if waiter.future.done():
                continue
            match waiter.lease():
                case "go":
                    self._start(now)
                    waiter.future.set_result("go")
                case "stop":
                    waiter.future.set_result("stop")
                case "wait":
                    passed_over.append(waiter)
        self._waiters.extendleft(reversed(passed_over))

    def _look(self, now: float) -> None:
        """Send away the calls whose lease ended, and those that waited long enough for an endpoint that is down."""
        if now - self._looked_at < _LOOK_S:
            return
        self._looked_at = now
        states = {id(waiter.lease): waiter.lease() for waiter in self._waiters}
        kept: deque[_Waiter] = deque()
        for waiter in self._waiters:
            if waiter.future.done():
                continue
            if states[id(waiter.lease)] == "stop":
                waiter.future.set_result("stop")
            elif self._grant.open and waiter.until is not None and now >= waiter.until:
                waiter.future.set_result("down")
            else:
                kept.append(waiter)
        self._waiters = kept

    def _run_soon(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        elif self._exchange_at < self._sleeps_until or not self._in_progress:
            self._wake.set()

    async def _run(self) -> None:
        """Exchange while there are calls, and once after them, so that others may have what this process had."""
        loop = asyncio.get_running_loop()
        idle_since: float | None = None
        try:
            while True:
                now = loop.time()
                if self._waiters or self._in_progress:
                    idle_since = None
                elif idle_since is None:
                    idle_since, self._exchange_at = now, now + _LINGER_S
                if now >= self._exchange_at:
                    await self._trade(loop)
                    if idle_since is not None and not self._waiters and not self._in_progress:
                        self._grant.slots = 0
                        return
                self._admit()
                self._look(loop.time())
                self._wake.clear()
                await self._sleep(loop)
        finally:
            self._task = None

    async def _sleep(self, loop: asyncio.AbstractEventLoop) -> None:
        until = [self._exchange_at]
        if self._waiters:
            until.append(self._looked_at + _LOOK_S)
            if self._starts and self._in_progress < self._grant.slots:
                until.append(self._starts[0])
        self._sleeps_until = min(until)
        handle = loop.call_at(self._sleeps_until, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            self._sleeps_until = float("-inf")
            handle.cancel()

    async def _trade(self, loop: asyncio.AbstractEventLoop) -> None:
        report, self._report = self._report, Report()
        report.in_progress, report.waiting = self._in_progress, len(self._waiters)
        report.unused, report.tokens_per_call = len(self._starts), self._tokens_per_call
        report.call_s = self._call_s
        self._exchange_at = float("inf")
        asked = report.in_progress + report.waiting
        try:
            grant = await loop.run_in_executor(self._executor, self._exchange, self._endpoint, report, self._settings)
        except Exception as cause:
            if not isinstance(cause, OutageError):
                log.exception("the limits of an endpoint cannot be exchanged; calls that wait go on waiting")
            self._put_back(report)
            self._exchange_at = loop.time() + _OUTAGE_S
            return
        now = loop.time()
        if grant.answered_at > self._grant.answered_at:
            self._answered_at = now
        if not grant.paced or grant.open:
            self._starts.clear()
        if grant.paced:
            self._starts.extend(now + grant.first_s + turn * grant.step_s for turn in range(grant.starts))
        self._grant = grant
        again_at = now + grant.again_s
        self._exchanged_at = now
        self._satisfied = grant.slots >= asked and not (grant.paced and report.waiting > len(self._starts))
        self._exchange_at = 0.0 if self._report.wait_s else again_at

    def _put_back(self, report: Report) -> None:
        """Report it the next time."""
        newer = self._report
        for name in ("answered", "failed", "refused", "latency_s", "token_correction", "dropped"):
            setattr(newer, name, getattr(newer, name) + getattr(report, name))
        newer.wait_s, newer.for_good = max(newer.wait_s, report.wait_s), newer.for_good or report.for_good
        newer.kind, newer.reason = newer.kind or report.kind, newer.reason or report.reason


def unshared(_endpoint: str, _report: Report, settings: Settings) -> Grant:
    """An exchange without Redis: the limit of concurrent calls holds in this process, and no other limit does."""
    return Grant(slots=settings.slots)
