"""The state of each endpoint in Redis, which all its workers exchange with (`karma.limits`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from karma.errors import BrokerOutageError
from karma.limits.exchange import exchange
from karma.limits.shares import GONE_S
from karma.limits.state import EndpointState, Grant, Report, Settings, endpoint_of
from karma.messages import JudgeSpec, ModelSpec
from karma.queue.redis import LIMIT_KEY, outages

#: Seconds that the state of an endpoint without calls is kept.
_KEPT_S = 86_400

#: Exchanges that two processes began with the same state: all but one begin again.
_TRIES = 20

# KEYS: the state. ARGV: the state that was read (empty: none), the new one (empty: only read), seconds to keep it.
# Returns the state that is there if it is another, else nothing.
_CHANGE = """#!lua flags=allow-oom
local there = redis.call('GET', KEYS[1]) or ''
if there ~= ARGV[1] then return there end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return false
"""

_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(EndpointState)


class EndpointLimits:
    """Exchanges of this process with the states in Redis.

    Args:
        redis: a client.
        process: the name of this process.
        clock: Redis' clock, s.
    """

    def __init__(self, redis: Any, process: str, clock: Callable[[], float]) -> None:
        self._change = redis.register_script(_CHANGE)
        self._process, self._clock = process, clock
        self._seen: dict[str, bytes] = {}

    def exchange(self, endpoint: str, report: Report, settings: Settings) -> Grant:
        """Report what came of this process's calls, and get what it may do.

        Raises:
            BrokerOutageError: Redis is unavailable, or too many processes exchange at once.
        """
        before = self._seen.get(endpoint, b"")
        for _try in range(_TRIES):
            state = _read(before)
            grant = exchange(state, self._process, report, settings, self._clock())
            after = _encode(state)
            with outages():
                there = self._change(keys=[LIMIT_KEY + endpoint], args=[before, after, _KEPT_S])
            if there is None:
                self._seen[endpoint] = after
                return grant
            before = there
        self._seen[endpoint] = before
        raise BrokerOutageError("the limits of an endpoint changed too often")


def _read(raw: bytes) -> EndpointState:
    """A state; a new one if there is none, or if it is of another version."""
    try:
        return _decoder.decode(raw) if raw else EndpointState()
    except msgspec.MsgspecError:
        return EndpointState()


class EndpointView(NamedTuple):
    """The limits of a model's or judge's endpoint, as they are now."""

    name: str
    open_reason: str | None  # why the circuit breaker is open; None: it is closed
    open_s: float | None  # since when
    probe_in_s: float | None  # until the next call tries
    limit: int | None  # of concurrent calls; None: nothing was called
    in_progress: int
    waiting: int
    requests_per_minute: float | None  # configured
    tokens_per_minute: float | None
    learned_per_minute: float | None  # requests, by 429
    blocked_s: float  # until calls may begin again, by a 429

    @property
    def admits(self) -> bool:
        """Whether work for it may be admitted: not while its breaker is open, unless only new work could try it."""
        return self.open_reason is None or (not self.probe_in_s and not self.waiting and not self.in_progress)


def endpoints(specs: Iterable[ModelSpec | JudgeSpec]) -> dict[str, ModelSpec]:
    """The models that are called at an endpoint, by the name of the model or judge."""
    models = {spec.name: spec.model if isinstance(spec, JudgeSpec) else spec for spec in specs}
    return {name: model for name, model in models.items() if model is not None and model.base_url}


def read_limits(redis: Any, called: Mapping[str, ModelSpec], now: float) -> list[EndpointView]:
    """The limits of endpoints, in the order of `called`.

    Raises:
        BrokerOutageError: Redis is unavailable.
    """
    if not called:
        return []
    with outages():
        pipe = redis.pipeline(transaction=False)
        for spec in called.values():
            pipe.get(LIMIT_KEY + endpoint_of(spec))
        answers = pipe.execute()
    return [
        _view(name, spec, _read(raw or b""), now) for (name, spec), raw in zip(called.items(), answers, strict=True)
    ]


def _view(name: str, spec: ModelSpec, state: EndpointState, now: float) -> EndpointView:
    breaker, pace = state.breaker, state.pace
    shares = [share for share in state.shares.values() if now - share.seen_at <= GONE_S]
    in_progress = sum(share.in_progress for share in shares)
    is_open = bool(breaker.opened_at)
    return EndpointView(
        name=name,
        open_reason=breaker.reason or breaker.kind or "it does not answer" if is_open else None,
        open_s=max(0.0, now - breaker.opened_at) if is_open else None,
        probe_in_s=max(0.0, breaker.probe_at - now) if is_open else None,
        limit=state.slots or None,
        in_progress=in_progress,
        waiting=sum(share.demand for share in shares) - in_progress,
        requests_per_minute=spec.requests_per_minute,
        tokens_per_minute=spec.tokens_per_minute,
        learned_per_minute=None if pace.per_s is None else 60.0 * pace.per_s,
        blocked_s=max(0.0, pace.blocked_until - now),
    )


def closed_to_work(views: Iterable[EndpointView]) -> dict[str, str]:
    """Models and judges to which no work may be admitted now, with the reason."""
    return {view.name: view.open_reason or "" for view in views if not view.admits}
