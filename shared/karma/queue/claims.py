"""Claims: who works on which batch, in Redis.

A worker claims a batch when it starts, shows a sign of life while it works, and leaves a tombstone when it is done.
The sweeper reads both. All of it may be lost with Redis at any time: the ledger alone decides what is open.

A claim's name is `<stage>:<batch>:<part>`, and no name is ever claimed twice; times are Redis' own clock, so workers'
clocks do not matter. A claim that was given up has a tombstone too: whoever held it, or still has the message, may
begin nothing more. Results that were paid for are *kept* in Redis beside their claim until they are recorded.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from karma.lease import LeaseState
from karma.queue.redis import CLAIMS_KEY, FATES_KEY, INCARNATION_KEY, KEPT_KEY, TOMBSTONES_KEY, outages

#: Seconds between two signs of life.
HEARTBEAT_S = 2.0

#: How long a tombstone tells a late duplicate, or a worker that was frozen, that the work is another's or done.
TOMBSTONE_S = 900.0

#: Seconds without a sign of life after which a claim is given up, unless the pool file says otherwise.
SILENCE_S = 10.0

#: A claim that was let go looks as if it had been silent for this long: more than any silence that is waited for.
_RELEASED_S = 600.0

#: Why a holder let its claim go.
RELEASED = "handed back"

Taken = Literal["claimed", "done", "taken", "void"]

# All scripts may run when Redis is out of memory: a claim is small, and frees what waits in the queues.
# KEYS: claims, tombstones, epoch, kept. ARGV: name, the message's epoch (empty: any), its text (empty: not kept).
_TAKE = """#!lua flags=allow-oom
if redis.call('ZSCORE', KEYS[2], ARGV[1]) then return 'done' end
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 'taken' end
if ARGV[2] ~= '' and redis.call('GET', KEYS[3]) ~= ARGV[2] then return 'void' end
local t = redis.call('TIME')
redis.call('ZADD', KEYS[1], t[1] + t[2] / 1e6, ARGV[1])
if ARGV[3] ~= '' then redis.call('HSET', KEYS[4], ARGV[1], ARGV[3]) end
return 'claimed'
"""

# KEYS: claims, tombstones, kept, fates. ARGV: name.
_COMPLETE = """#!lua flags=allow-oom
local t = redis.call('TIME')
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[2], t[1] + t[2] / 1e6, ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('HDEL', KEYS[4], ARGV[1])
"""

# KEYS: claims, fates. ARGV: name, how long it is to look silent, why.
_RELEASE = """#!lua flags=allow-oom
local t = redis.call('TIME')
redis.call('ZADD', KEYS[1], 'XX', t[1] - ARGV[2], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
"""

# KEYS: claims, tombstones. ARGV: names. Answers those that are the holder's no more. A name that is missing without
# a tombstone was lost with Redis: it is claimed again.
_BEAT = """#!lua flags=allow-oom
local t = redis.call('TIME')
local lost = {}
for _, name in ipairs(ARGV) do
  if redis.call('ZSCORE', KEYS[2], name) then lost[#lost + 1] = name
  else redis.call('ZADD', KEYS[1], t[1] + t[2] / 1e6, name) end
end
return lost
"""

# KEYS: claims, tombstones, kept, fates. ARGV: silence in seconds, names. Answers the names that were given up: all but
# those that a living worker holds.
_REVOKE = """#!lua flags=allow-oom
local t = redis.call('TIME')
local now = t[1] + t[2] / 1e6
local given_up = {}
for place = 2, #ARGV do
  local beat = redis.call('ZSCORE', KEYS[1], ARGV[place])
  if not beat or now - beat >= tonumber(ARGV[1]) then
    redis.call('ZREM', KEYS[1], ARGV[place])
    redis.call('ZADD', KEYS[2], now, ARGV[place])
    redis.call('HDEL', KEYS[3], ARGV[place])
    redis.call('HDEL', KEYS[4], ARGV[place])
    given_up[#given_up + 1] = ARGV[place]
  end
end
return given_up
"""


def claim_name(stage: str, batch: str, part: int) -> str:
    """The name under which a stage claims a part of a batch."""
    return f"{stage}:{batch}:{part}"


class Claims:
    """The claims of one worker process.

    Raises, from every method that asks Redis:
        BrokerOutageError: Redis is away.
    """

    def __init__(self, redis: Any, silence_s: float = SILENCE_S) -> None:
        self._redis = redis
        # Two heartbeats before the sweeper may give a claim up, its holder begins nothing more.
        self._lease_s = silence_s - min(2 * HEARTBEAT_S, silence_s / 2)
        self._held: dict[str, float] = {}  # name → monotonic time of the last sign of life that Redis took
        self._lost: set[str] = set()
        self._idle_since = time.monotonic()
        self._lock = threading.Lock()
        self._take, self._complete, self._release, self._beat = (
            redis.register_script(script) for script in (_TAKE, _COMPLETE, _RELEASE, _BEAT)
        )

    def take(self, name: str, epoch: str = "", kept: str = "") -> Taken:
        """Claim a batch.

        Args:
            name: of the claim.
            epoch: the life of Redis that the message was published to; a message of another one is `void`, as
                whatever it asks for is asked again. Empty where that does not matter.
            kept: the message itself where its loss would lose what was paid for.
        """
        asked_at = time.monotonic()
        with outages():
            answer = self._take(keys=[CLAIMS_KEY, TOMBSTONES_KEY, INCARNATION_KEY, KEPT_KEY], args=[name, epoch, kept])
        taken: Taken = answer.decode()
        with self._lock:
            self._idle_since = time.monotonic()
            if taken == "claimed":
                self._held[name] = asked_at
        return taken

    def state(self, name: str) -> LeaseState:
        """Whether the holder may begin more work for a claim."""
        with self._lock:
            if name in self._lost:
                return "stop"
            renewed_at = self._held.get(name, float("-inf"))
        return "go" if time.monotonic() - renewed_at < self._lease_s else "wait"

    def complete(self, name: str) -> None:
        """The work is done and its results are on their way."""
        with outages():
            self._complete(keys=[CLAIMS_KEY, TOMBSTONES_KEY, KEPT_KEY, FATES_KEY], args=[name])
        self._forget(name)

    def release(self, name: str, why: str) -> None:
        """The work is not done: show no more signs of life, and let the sweeper see it at once.

        `why` is the last error of an attempt that failed, or `RELEASED` where nothing did.
        """
        lost = name in self._lost
        self._forget(name)
        if not lost:
            with outages():
                self._release(keys=[CLAIMS_KEY, FATES_KEY], args=[name, _RELEASED_S, why])

    def beat(self) -> None:
        """Show a sign of life for everything in hand, and learn what is another's by now."""
        asked_at = time.monotonic()
        with self._lock:
            names = sorted(self._held)
        if not names:
            return
        with outages():
            lost = {raw.decode() for raw in self._beat(keys=[CLAIMS_KEY, TOMBSTONES_KEY], args=names)}
        with self._lock:
            for name in names:
                if name in self._held:
                    self._held[name] = asked_at
            self._lost |= lost & self._held.keys()

    @property
    def names(self) -> list[str]:
        """The claims in hand."""
        with self._lock:
            return sorted(self._held)

    @property
    def idle_s(self) -> float:
        """How long this process has had nothing in hand and was given nothing."""
        with self._lock:
            return 0.0 if self._held else time.monotonic() - self._idle_since

    def _forget(self, name: str) -> None:
        with self._lock:
            self._held.pop(name, None)
            self._lost.discard(name)
            self._idle_since = time.monotonic()


@dataclass(frozen=True)
class ClaimsView:
    """What the sweeper sees of everybody's claims at one moment: per batch, claim → last sign of life."""

    now: float  # Redis' clock
    silence_s: float
    beats: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    fates: Mapping[str, str] = field(default_factory=dict)  # claim → why its holder let it go

    @classmethod
    def read(cls, redis: Any, silence_s: float) -> ClaimsView:
        """Look now."""
        with outages():
            seconds, micros = redis.time()
            entries = redis.zrange(CLAIMS_KEY, 0, -1, withscores=True)
            fates = redis.hgetall(FATES_KEY)
        beats: dict[str, dict[str, float]] = {}
        for raw, score in entries:
            name = raw.decode()
            beats.setdefault(name.split(":")[1], {})[name] = score
        return cls(
            seconds + micros / 1e6, silence_s, beats, {name.decode(): why.decode() for name, why in fates.items()}
        )

    def living(self, batch: str) -> bool:
        """Whether a living worker is at the batch or at its results."""
        return any(self.now - beat < self.silence_s for beat in self.beats.get(batch, {}).values())

    def last_seen(self, name: str) -> float:
        """When the holder of a claim last worked on it."""
        beat = self.beats[name.split(":")[1]][name]
        return beat + _RELEASED_S if name in self.fates else beat

    def silent(self) -> list[str]:
        """All claims whose holders fell silent or let them go."""
        return [
            name for claims in self.beats.values() for name, beat in claims.items() if self.now - beat >= self.silence_s
        ]

    def fate(self, name: str) -> str:
        """Why a claim is silent, for people."""
        return self.fates.get(name, "the worker fell silent")


def revoke(redis: Any, names: Sequence[str], silence_s: float) -> set[str]:
    """Take claims away from whoever may hold them, for ever; returns all but those that a living worker holds."""
    with outages():
        given_up = redis.register_script(_REVOKE)(
            keys=[CLAIMS_KEY, TOMBSTONES_KEY, KEPT_KEY, FATES_KEY], args=[silence_s, *names]
        )
    return {raw.decode() for raw in given_up}


def ended_at(redis: Any, batch: str, stage: str) -> float | None:
    """When a stage's work on a batch ended, on Redis' clock; None where it did not.

    Asked for one batch at a time: there are far more tombstones than batches in question.
    """
    with outages():
        end = redis.zscore(TOMBSTONES_KEY, claim_name(stage, batch, 0))
    return None if end is None else float(end)


def refresh_end(redis: Any, batch: str, stage: str) -> None:
    """What a stage brought of a batch is on its way only now: its work, if it ended, ended now."""
    with outages():
        seconds, micros = redis.time()
        redis.zadd(TOMBSTONES_KEY, {claim_name(stage, batch, 0): seconds + micros / 1e6}, xx=True)


def kept_result(redis: Any, name: str) -> str | None:
    """The message that the holder of a claim had in hand; None where it was not kept."""
    with outages():
        raw = redis.hget(KEPT_KEY, name)
    return None if raw is None else raw.decode()


def forget_old(redis: Any, until: float) -> None:
    """Remove tombstones older than a moment of Redis' clock."""
    with outages():
        redis.zremrangebyscore(TOMBSTONES_KEY, "-inf", until)
