"""Claims: which worker holds which batch, in Redis.

A worker acquires a claim when it starts a batch, renews it with its heartbeat, and completes it when it is done. A
completed or revoked claim leaves a *tombstone*: its name can never be acquired again, so a late duplicate of a message,
or a worker that was frozen, starts nothing. The sweeper reads claims and tombstones. All of them may be lost with Redis
at any time: only the ledger decides which work is open.

A claim's name is `<stage>:<batch>:<part>`. Times are Redis' own clock, so workers' clocks do not matter. Results that
were paid for are *kept* in Redis beside their claim until they are recorded.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any, Literal

from karma.lease import LeaseState
from karma.messages.signing import LEDGER, UNSIGNED, Keyring
from karma.queue.redis import (
    CLAIMS_KEY,
    FATES_KEY,
    FULL_KEY,
    INCARNATION_KEY,
    KEPT_KEY,
    TOMBSTONES_KEY,
    WAKE_KEY,
    outages,
    server_time,
)

#: Seconds between two heartbeats.
HEARTBEAT_S = 2.0

#: Seconds that a tombstone is kept.
TOMBSTONE_S = 900.0

#: Seconds without a heartbeat after which a claim expires, unless the pool file says otherwise.
SILENCE_S = 10.0

#: A released claim gets a heartbeat that is this many seconds old: expired under any setting.
RELEASED_AGE_S = 600.0

#: The reason of a release that is no failed attempt, as it is stored in Redis.
RELEASED = "handed back"

#: The reason of a release by a worker whose pool file describes the model or judge differently.
OTHER_SPECIFICATION = "other specification"

#: Stages whose messages carry results that were paid for and exist nowhere else: valid under any Redis incarnation.
RESULT_STAGES = ("score", "learn")

Acquired = Literal["claimed", "done", "held", "void"]

# All scripts may run when Redis is out of memory: a claim is small, and workers need it to empty the queues.
# KEYS: claims, tombstones, incarnation, kept. ARGV: name, the message's incarnation (empty: any), its text (empty: not
# kept).
_ACQUIRE = """#!lua flags=allow-oom
if redis.call('ZSCORE', KEYS[2], ARGV[1]) then return 'done' end
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 'held' end
if ARGV[2] ~= '' and redis.call('GET', KEYS[3]) ~= ARGV[2] then return 'void' end
local t = redis.call('TIME')
redis.call('ZADD', KEYS[1], t[1] + t[2] / 1e6, ARGV[1])
if ARGV[3] ~= '' then redis.call('HSET', KEYS[4], ARGV[1], ARGV[3]) end
return 'claimed'
"""

# KEYS: claims, fates. ARGV: name, the age of its last heartbeat in seconds, the reason.
_RELEASE = """#!lua flags=allow-oom
local t = redis.call('TIME')
redis.call('ZADD', KEYS[1], 'XX', t[1] - ARGV[2], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
"""

# KEYS: claims, tombstones. ARGV: names. Returns those that were revoked. A name that is missing without a tombstone was
# lost with Redis: it is claimed again.
_RENEW = """#!lua flags=allow-oom
local t = redis.call('TIME')
local lost = {}
for _, name in ipairs(ARGV) do
  if redis.call('ZSCORE', KEYS[2], name) then lost[#lost + 1] = name
  else redis.call('ZADD', KEYS[1], t[1] + t[2] / 1e6, name) end
end
return lost
"""

# KEYS: claims, tombstones, kept, fates. ARGV: seconds until a claim expires, names. Returns the names that were
# ended, all but those with a fresh heartbeat, each followed by 1 if it had ended before, else 0.
_END = """#!lua flags=allow-oom
local t = redis.call('TIME')
local now = t[1] + t[2] / 1e6
local ended = {}
for i = 2, #ARGV do
  local beat = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if not beat or now - beat >= tonumber(ARGV[1]) then
    ended[#ended + 1] = ARGV[i]
    ended[#ended + 1] = redis.call('ZSCORE', KEYS[2], ARGV[i]) and 1 or 0
    redis.call('ZREM', KEYS[1], ARGV[i])
    redis.call('ZADD', KEYS[2], now, ARGV[i])
    redis.call('HDEL', KEYS[3], ARGV[i])
    redis.call('HDEL', KEYS[4], ARGV[i])
  end
end
return ended
"""

# KEYS: claims, tombstones, kept, fates; and, where the work may have made room, full and wake. ARGV: name.
_COMPLETE = """#!lua flags=allow-oom
local t = redis.call('TIME')
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[2], t[1] + t[2] / 1e6, ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('HDEL', KEYS[4], ARGV[1])
if KEYS[5] and redis.call('EXISTS', KEYS[5]) == 1 then
  redis.call('LPUSH', KEYS[6], 1)
  redis.call('LTRIM', KEYS[6], 0, 0)
end
"""

_END_KEYS = [CLAIMS_KEY, TOMBSTONES_KEY, KEPT_KEY, FATES_KEY]


def claim_name(stage: str, batch: str, part: int) -> str:
    """The name of a stage's claim on a part of a batch."""
    return f"{stage}:{batch}:{part}"


class Claims:
    """The claims of one worker process.

    Raises, from every method that calls Redis:
        BrokerOutageError: Redis is unavailable.
    """

    def __init__(self, redis: Any, silence_s: float = SILENCE_S, keys: Keyring = UNSIGNED) -> None:
        self._redis = redis
        self._keys = keys
        self._channels: dict[str, str] = {}  # claim → what its release is signed for
        # The holder starts nothing new from two heartbeats before its claim expires.
        self._lease_s = silence_s - min(2 * HEARTBEAT_S, silence_s / 2)
        self._held: dict[str, float] = {}  # name → monotonic time of the last heartbeat that Redis acknowledged
        self._revoked: set[str] = set()
        self._idle_since = time.monotonic()
        self._lock = threading.Lock()
        self._acquire, self._release, self._renew = map(redis.register_script, (_ACQUIRE, _RELEASE, _RENEW))
        self._complete = redis.register_script(_COMPLETE)

    def acquire(self, name: str, incarnation: str = "", kept: str = "", channel: str = LEDGER) -> Acquired:
        """Claim a batch.

        Args:
            name: of the claim.
            incarnation: of the Redis that the message was published to; a message of another one is `void`, as the
                sweeper resends its items. Empty if any incarnation is valid.
            kept: the message itself if its results would be lost with the worker.
            channel: what the claim's release is signed for: that of the queue that this worker reads.
        """
        asked_at = time.monotonic()
        keys = [CLAIMS_KEY, TOMBSTONES_KEY, INCARNATION_KEY, KEPT_KEY]
        with outages():
            acquired: Acquired = self._acquire(keys=keys, args=[name, incarnation, kept]).decode()
        with self._lock:
            self._idle_since = time.monotonic()
            if acquired == "claimed":
                self._held[name] = asked_at
                self._channels[name] = channel
        return acquired

    def state(self, name: str) -> LeaseState:
        """Whether the holder may start more work under a claim."""
        with self._lock:
            if name in self._revoked:
                return "stop"
            renewed_at = self._held.get(name, float("-inf"))
        return "go" if time.monotonic() - renewed_at < self._lease_s else "wait"

    def complete(self, name: str, made_room: bool = False) -> None:
        """End a claim whose work is done and whose results are published.

        It leaves the same tombstone as a revoked one. If the work `made_room`, a gateway is woken whose prompts wait
        for room.
        """
        keys = [*_END_KEYS, FULL_KEY, WAKE_KEY] if made_room else _END_KEYS
        with outages():
            self._complete(keys=keys, args=[name])
        self.forget(name)

    def release(self, name: str, why: str) -> None:
        """End a claim whose work is not done, so that the sweeper resends the work at once.

        `why` is the error of a failed attempt, or `RELEASED` if none failed.
        """
        revoked, says = name in self._revoked, self._channels.get(name, LEDGER)
        self.forget(name)
        if not revoked:
            fate = self._keys.seal(says, f"{name} {why}")
            with outages():
                self._release(keys=[CLAIMS_KEY, FATES_KEY], args=[name, RELEASED_AGE_S, fate])

    def renew(self) -> None:
        """Send a heartbeat for every claim of this process, and note which were revoked."""
        asked_at = time.monotonic()
        with self._lock:
            names = sorted(self._held)
        if not names:
            return
        with outages():
            revoked = {raw.decode() for raw in self._renew(keys=[CLAIMS_KEY, TOMBSTONES_KEY], args=names)}
        with self._lock:
            for name in names:
                if name in self._held:
                    self._held[name] = asked_at
            self._revoked |= revoked & self._held.keys()

    @property
    def names(self) -> list[str]:
        """The claims that this process holds."""
        with self._lock:
            return sorted(self._held)

    @property
    def idle_s(self) -> float:
        """Seconds since this process last held or was offered a batch."""
        with self._lock:
            return 0.0 if self._held else time.monotonic() - self._idle_since

    def forget(self, name: str) -> None:
        """Send no more heartbeats for a claim."""
        with self._lock:
            self._channels.pop(name, None)
            self._held.pop(name, None)
            self._revoked.discard(name)
            self._idle_since = time.monotonic()


def revoke(redis: Any, names: Sequence[str], silence_s: float) -> dict[str, bool]:
    """Revoke claims for good, except those with a fresh heartbeat.

    Returns:
        The revoked ones, and whether each had ended before.
    """
    with outages():
        ended = redis.register_script(_END)(keys=_END_KEYS, args=[silence_s, *names])
    return {raw.decode(): bool(before) for raw, before in zip(ended[::2], ended[1::2], strict=True)}


def ends_of(redis: Any, names: Sequence[str]) -> dict[str, float]:
    """When claims ended, on Redis' clock; those that did not are left out. Reading all tombstones would cost more."""
    if not names:
        return {}
    with outages():
        ends = redis.zmscore(TOMBSTONES_KEY, list(names))
    return {name: float(end) for name, end in zip(names, ends, strict=True) if end is not None}


def refresh_end(redis: Any, batch: str, stage: str) -> None:
    """Set the end of a stage's claim on a batch to now, because its results are redelivered."""
    with outages():
        redis.zadd(TOMBSTONES_KEY, {claim_name(stage, batch, 0): server_time(redis)}, xx=True)


def kept_result(redis: Any, name: str) -> str | None:
    """The message that is kept beside a claim; None if there is none."""
    with outages():
        raw = redis.hget(KEPT_KEY, name)
    return None if raw is None else raw.decode("utf-8", "replace")


def forget_old(redis: Any, until: float) -> None:
    """Remove tombstones older than a moment of Redis' clock."""
    with outages():
        redis.zremrangebyscore(TOMBSTONES_KEY, "-inf", until)
