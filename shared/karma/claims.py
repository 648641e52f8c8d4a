"""Claims: who works on which batch, in Redis.

A worker claims a batch when it starts, shows a sign of life while it works, and leaves a tombstone when it is done.
The sweeper reads both. All of it may be lost with Redis at any time: the ledger alone decides what is open.

A claim's name is `<stage>:<batch>:<part>`; times are Redis' own clock, so workers' clocks do not matter.
"""

from __future__ import annotations

import threading
from typing import Any

from karma.broker import CLAIMS_KEY, TOMBSTONES_KEY

#: Seconds between two signs of life.
HEARTBEAT_S = 2.0

#: How long a tombstone tells a late duplicate that the work is done.
TOMBSTONE_S = 900.0

#: A claim that was given up looks as if it had been silent for this long: more than any silence that is waited for.
_GIVEN_UP_S = 600.0

# KEYS: claims, tombstones. ARGV: name, silence in seconds. Answers `claimed`, `done` or `taken`.
_TAKE = """
if redis.call('ZSCORE', KEYS[2], ARGV[1]) then return 'done' end
local t = redis.call('TIME')
local now = t[1] + t[2] / 1e6
local beat = redis.call('ZSCORE', KEYS[1], ARGV[1])
if beat and now - beat < tonumber(ARGV[2]) then return 'taken' end
redis.call('ZADD', KEYS[1], now, ARGV[1])
return 'claimed'
"""

# KEYS: claims, tombstones. ARGV: name.
_RELEASE = """
local t = redis.call('TIME')
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[2], t[1] + t[2] / 1e6, ARGV[1])
"""

# KEYS: claims. ARGV: names. Only what is still claimed is renewed, except where Redis was emptied: then all of it is.
_BEAT = """
local t = redis.call('TIME')
local now = t[1] + t[2] / 1e6
for _, name in ipairs(ARGV) do redis.call('ZADD', KEYS[1], now, name) end
"""


def claim_name(stage: str, batch: str, part: int) -> str:
    """The name under which a stage claims a part of a batch."""
    return f"{stage}:{batch}:{part}"


class Claims:
    """The claims of one worker process."""

    def __init__(self, redis: Any, silence_s: float = 20.0) -> None:
        self._redis = redis
        self._silence_s = silence_s
        self._held: set[str] = set()
        self._lock = threading.Lock()
        self._take = redis.register_script(_TAKE)
        self._release = redis.register_script(_RELEASE)
        self._beat = redis.register_script(_BEAT)

    def take(self, name: str) -> bool:
        """Claim a batch; False where somebody is at it, or it is done."""
        answer = self._take(keys=[CLAIMS_KEY, TOMBSTONES_KEY], args=[name, self._silence_s])
        claimed: bool = answer in (b"claimed", "claimed")
        if claimed:
            with self._lock:
                self._held.add(name)
        return claimed

    def release(self, name: str) -> None:
        """The work is done and its results are on their way."""
        with self._lock:
            self._held.discard(name)
        self._release(keys=[CLAIMS_KEY, TOMBSTONES_KEY], args=[name])

    def abandon(self, name: str) -> None:
        """The work failed: show no more signs of life, and let the sweeper see it at once."""
        with self._lock:
            self._held.discard(name)
        seconds, _micros = self._redis.time()
        self._redis.zadd(CLAIMS_KEY, {name: seconds - _GIVEN_UP_S}, xx=True)

    def beat(self) -> None:
        """Show a sign of life for everything in hand."""
        with self._lock:
            held = sorted(self._held)
        if held:
            self._beat(keys=[CLAIMS_KEY], args=held)


class ClaimsView:
    """What the sweeper sees of everybody's claims at one moment."""

    def __init__(self, redis: Any, silence_s: float) -> None:
        seconds, micros = redis.time()
        self.now = seconds + micros / 1e6
        self._silence_s = silence_s
        self._beats = _by_batch(redis.zrange(CLAIMS_KEY, 0, -1, withscores=True))
        self._redis = redis

    def claimed(self, batch: str) -> bool:
        """Whether a living worker is at the batch or at its results."""
        return any(self.now - beat < self._silence_s for beat in self._beats.get(batch, {}).values())

    def silent(self, batch: str) -> str | None:
        """The claim on the batch whose worker fell silent, if any."""
        return next(
            (name for name, beat in self._beats.get(batch, {}).items() if self.now - beat >= self._silence_s), None
        )

    def ended(self, batch: str, stage: str) -> float | None:
        """When a stage's work on the batch ended, on Redis' clock; None where it did not.

        Asked of Redis for one batch at a time: there are far more tombstones than batches in question.
        """
        end = self._redis.zscore(TOMBSTONES_KEY, claim_name(stage, batch, 0))
        return None if end is None else float(end)


def forget_old(redis: Any, names: list[str], now: float) -> None:
    """Remove claims that were given up, and claims and tombstones that are old."""
    if names:
        redis.zrem(CLAIMS_KEY, *names)
    for key in (CLAIMS_KEY, TOMBSTONES_KEY):
        redis.zremrangebyscore(key, "-inf", now - TOMBSTONE_S)


def _by_batch(entries: list[tuple[bytes, float]]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for raw, score in entries:
        name = raw.decode()
        found.setdefault(name.split(":")[1], {})[name] = score
    return found
