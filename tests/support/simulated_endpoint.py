"""Processes that call one endpoint through their gates, in virtual time; what the endpoint saw is the result."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from karma.limits.exchange import exchange
from karma.limits.gate import Gate, Outcome
from karma.limits.state import EndpointState, Grant, Report, Settings
from tests.support.virtual_time import Direct, VirtualLoop, run_virtually


@dataclass
class Endpoint:
    """What an endpoint did, and how it decides."""

    decide: Callable[[Endpoint, float], Outcome]
    answered: list[float] = field(default_factory=list)  # when calls that were answered arrived
    refused: list[float] = field(default_factory=list)
    failed: list[float] = field(default_factory=list)
    in_progress: int = 0
    most_in_progress: int = 0

    async def call(self, loop: VirtualLoop) -> Outcome:
        arrived = loop.time()
        self.in_progress += 1
        self.most_in_progress = max(self.most_in_progress, self.in_progress)
        try:
            outcome = self.decide(self, arrived)
            await asyncio.sleep(outcome.latency_s or 0.002)
        finally:
            self.in_progress -= 1
        {"answered": self.answered, "refused": self.refused, "failed": self.failed}[outcome.result].append(arrived)
        return outcome


def token_bucket(per_minute: float, burst: int, latency_s: float = 0.05) -> Callable[[Endpoint, float], Outcome]:
    """Allows a rate with a burst, and answers 429 beyond."""
    level, seen_at = float(burst), [1_000.0]

    def decide(_endpoint: Endpoint, now: float) -> Outcome:
        nonlocal level
        level = min(burst, level + (now - seen_at[0]) * per_minute / 60)
        seen_at[0] = now
        if level < 1:
            return Outcome("refused")
        level -= 1
        return Outcome("answered", latency_s)

    return decide


def fixed_minutes(per_minute: int, latency_s: float = 0.05) -> Callable[[Endpoint, float], Outcome]:
    """Allows a number of calls in each minute of the clock, and answers 429 beyond."""
    used: dict[int, int] = {}

    def decide(_endpoint: Endpoint, now: float) -> Outcome:
        minute = int(now // 60)
        if used.setdefault(minute, 0) >= per_minute:
            return Outcome("refused")
        used[minute] += 1
        return Outcome("answered", latency_s)

    return decide


def refusing_at_random(share: float, latency_s: float = 0.01, seed: int = 1) -> Callable[[Endpoint, float], Outcome]:
    """Answers 429 to a share of the calls, however few there are."""
    random_ = random.Random(seed)

    def decide(_endpoint: Endpoint, _now: float) -> Outcome:
        return Outcome("refused", wait_s=0.02) if random_.random() < share else Outcome("answered", latency_s)

    return decide


def saturating(
    best: int, latency_s: float = 0.05, spread: float = 0.3, seed: int = 1
) -> Callable[[Endpoint, float], Outcome]:
    """Answers everything; beyond `best` calls at once each takes longer in proportion."""
    random_ = random.Random(seed)

    def decide(endpoint: Endpoint, _now: float) -> Outcome:
        slower = max(1.0, endpoint.in_progress / best)
        return Outcome("answered", latency_s * slower * random_.uniform(1 - spread, 1 + spread))

    return decide


@dataclass
class Simulation:
    """Some processes with endless work, and the state that they share."""

    settings: Settings
    endpoint: Endpoint
    processes: int = 1
    calls: int = 64  # at once, per process
    state: EndpointState = field(default_factory=EndpointState)
    answered_by: set[str] = field(default_factory=set)

    def run(self, duration_s: float, events: dict[float, Callable[[Simulation], None]] | None = None) -> Simulation:
        """Run for a time; `events` happen at seconds after the beginning."""
        run_virtually(lambda loop: self._main(loop, duration_s, events or {}))
        return self

    async def _main(
        self, loop: VirtualLoop, duration_s: float, events: dict[float, Callable[[Simulation], None]]
    ) -> None:
        for at, event in events.items():
            loop.call_later(at, event, self)
        tasks = [
            asyncio.ensure_future(self._work(loop, process, gate))
            for process, gate in [(f"p{number}", self._gate(loop, f"p{number}")) for number in range(self.processes)]
            for _call in range(self.calls)
        ]
        await asyncio.sleep(duration_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _gate(self, loop: VirtualLoop, process: str) -> Gate:
        def traded(_endpoint: str, report: Report, settings: Settings) -> Grant:
            return exchange(self.state, process, report, settings, loop.time())

        return Gate("endpoint", self.settings, traded, Direct())

    async def _work(self, loop: VirtualLoop, process: str, gate: Gate) -> None:
        while True:
            entry = await gate.enter(lambda: "go", 100)
            assert entry == "go"
            try:
                outcome = await self.endpoint.call(loop)
            except asyncio.CancelledError:
                gate.cancel()
                raise
            gate.leave(outcome)
            if outcome.result == "answered":
                self.answered_by.add(process)
            elif outcome.result == "failed":
                await asyncio.sleep(0.25)  # as a call does before its next attempt
