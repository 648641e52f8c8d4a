"""What is known of an endpoint, what a process reports of its calls, and what it may do next."""

from __future__ import annotations

from hashlib import blake2b

import msgspec

from karma.messages import ModelSpec

#: Most concurrent calls that are found without a configured `concurrency`.
MOST_SLOTS = 512


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the pool file says of an endpoint's limits."""

    slots: int  # concurrent calls: the limit, or where an adaptive limit begins
    adaptive: bool = False  # whether the limit may rise above `slots`
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None

    @property
    def most_slots(self) -> int:
        """Most concurrent calls."""
        return max(self.slots, MOST_SLOTS) if self.adaptive else self.slots


class Share(msgspec.Struct):
    """What one process has of an endpoint."""

    slots: int = 0  # calls that it may have in progress
    in_progress: int = 0
    demand: int = 0  # calls in progress and waiting
    seen_at: float = 0.0
    starved_at: float = 0.0  # since when it has demand and no slot; 0: not


class Breaker(msgspec.Struct):
    """The circuit breaker of an endpoint. It is open while `opened_at` is set."""

    failures: int = 0  # since the last answer
    failing_since: float = 0.0  # 0: not
    answered_at: float = 0.0
    opened_at: float = 0.0  # 0: closed
    probe_at: float = 0.0  # when the next call may try
    probed_by: str = ""  # the process whose call is trying
    probe_ends: float = 0.0  # when another process may try instead
    opened: int = 0  # times in a row that it opened
    kind: str = ""
    reason: str = ""


class Window(msgspec.Struct):
    """The calls of one step of the adaptive limit, and the throughput of the step before."""

    began_at: float = 0.0
    answered: int = 0
    latency_s: float = 0.0  # sum
    slack: bool = False  # whether there was less demand than slots
    slots: int = 0  # in the step before
    per_s: float = 0.0  # answers per second in the step before
    at_once: float = 0.0  # mean calls in progress in the step before
    hold: int = 0  # steps until the limit is tried higher again
    steps_down: int = 0


class Pace(msgspec.Struct):
    """When the next call may begin, and the rate that refusals (429) taught."""

    request_at: float = 0.0  # of the next request, by requests per minute
    token_at: float = 0.0  # the same by tokens per minute
    blocked_until: float = 0.0  # by refusals in a row, or the endpoint's own words
    in_a_row: int = 0  # refusals since the last answer
    refusals: int = 0  # blocks in a row
    tried_at: float = 0.0  # when a call began to try after a block; 0: none did
    per_s: float | None = None  # learned; None: no limit is known
    best_per_s: float = 0.0  # what it was set to last
    rough: bool = False  # whether it was learned from a few seconds only
    changed_at: float = 0.0
    cut_at: float = 0.0  # when it was set last
    cuts: int = 0  # windows in a row for which it was lowered
    cut_share: float = 0.0  # of refusals, in the first of them
    before_per_s: float | None = None  # before it
    borne: float = 0.08  # share of refusals that a lower rate does not prevent, until more is known
    calm_calls: int = 0  # since the rate was lowered
    calm_refused: int = 0
    answered: int = 0  # in the window
    refused: int = 0
    since: float = 0.0  # the window's beginning
    cycle_answered: int = 0  # since an allowance was given anew
    cycle_since: float = 0.0  # when that was, or the first report
    seen_at: float = 0.0  # the last report


class EndpointState(msgspec.Struct):
    """Everything that the processes of an endpoint share. Times are seconds of Redis' clock."""

    slots: int = 0  # the limit of concurrent calls now
    breaker: Breaker = msgspec.field(default_factory=Breaker)
    pace: Pace = msgspec.field(default_factory=Pace)
    window: Window = msgspec.field(default_factory=Window)
    shares: dict[str, Share] = msgspec.field(default_factory=dict)  # by process


class Report(msgspec.Struct):
    """What came of a process's calls since its last report."""

    in_progress: int = 0
    waiting: int = 0
    unused: int = 0  # starts that it was granted and has not used
    answered: int = 0
    latency_s: float = 0.0  # sum over answered calls
    failed: int = 0  # calls that say that the endpoint is down
    for_good: bool = False  # a failure that no later call is spared: no key, a spent quota, an unknown model
    kind: str = ""  # of the last failure
    reason: str = ""
    refused: int = 0  # calls that were answered by 429
    wait_s: float = 0.0  # the longest delay that the endpoint asked for
    call_s: float = 0.0  # expected of an answered call; 0: unknown
    tokens_per_call: float = 0.0  # expected
    token_correction: float = 0.0  # tokens of ended calls, used less expected
    dropped: int = 0  # starts that it was granted and gives back, because the endpoint asked for a delay


class Grant(msgspec.Struct):
    """What a process may do until its next exchange."""

    slots: int  # calls in progress at once
    starts: int = 0  # calls that may begin in all
    first_s: float = 0.0  # seconds until the first may begin
    step_s: float = 0.0  # seconds between two beginnings
    paced: bool = False  # whether `starts` is a limit
    open: bool = False  # whether the circuit breaker is open
    kind: str = ""  # of the failure that opened it
    reason: str = ""
    answered_at: float = 0.0  # when any process last had an answer, on Redis' clock
    again_s: float = 0.25  # seconds until an exchange can bring more


def settings_of(spec: ModelSpec) -> Settings:
    """The limits of a model's endpoint."""
    return Settings(
        slots=max(1, spec.concurrency),
        adaptive=spec.adaptive_concurrency,
        requests_per_minute=spec.requests_per_minute,
        tokens_per_minute=spec.tokens_per_minute,
    )


def endpoint_of(spec: ModelSpec) -> str:
    """The id of a model's endpoint: models and judges with the same address, model and key share its limits."""
    named = "\n".join((spec.base_url or "", spec.model, spec.api_key_env or ""))
    return blake2b(named.encode(), digest_size=8).hexdigest()
