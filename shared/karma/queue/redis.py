"""Redis: the connection, its clock, its lives, and what is to be done when it is away.

Every key that KARMA itself keeps in Redis:

| key | type | what |
| --- | --- | --- |
| `karma:epoch` | string | the life of this Redis: set when missing; its absence means that everything was lost |
| `karma:claims` | sorted set | claim → last sign of life (`karma.queue.claims`) |
| `karma:done` | sorted set | claim → when its work ended, or was taken away; 15 minutes |
| `karma:kept` | hash | claim on results → the message in hand, until it is recorded |
| `karma:fates` | hash | claim that its holder let go → why |
| `karma:workers` | hash | worker id → what it is and its last sign of life, JSON (`karma.queue.heartbeats`) |
| `karma:wake` | list | at most one entry: there is something for a gateway to do |
| `karma:full` | string | prompts wait for room in the pipeline: whoever makes room wakes a gateway; 5 s |
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from karma.errors import BrokerError, BrokerOutageError

INCARNATION_KEY = "karma:epoch"
CLAIMS_KEY = "karma:claims"
TOMBSTONES_KEY = "karma:done"
KEPT_KEY = "karma:kept"
FATES_KEY = "karma:fates"
WORKERS_KEY = "karma:workers"
WAKE_KEY = "karma:wake"
FULL_KEY = "karma:full"

_FULL_S = 5

#: Seconds that Redis may take to answer. Without it a connection that is half open would hold a thread for ever.
ANSWER_S = 2.0

#: Above this share of Redis' `maxmemory` no prompt is admitted: the rest is for results, which must find a place.
_FULL_SHARE = 0.7

#: How Redis begins its refusal of a command that it would take at another time.
_REFUSES_NOW = ("MISCONF", "OOM", "LOADING", "MASTERDOWN", "NOREPLICAS", "READONLY", "BUSY", "TRYAGAIN", "CLUSTERDOWN")


@contextmanager
def outages() -> Iterator[None]:
    """Turn what Redis' clients raise when Redis is away, loading or full into one error that can be waited out.

    Raises:
        BrokerOutageError: Redis cannot do it now.
    """
    try:
        yield
    except Exception as cause:
        said = _outage_of(cause)
        if said is None:
            raise
        raise BrokerOutageError(said) from cause


def _outage_of(error: BaseException | None) -> str | None:
    """What an error says about Redis being away or refusing for now; None where it says something else."""
    import kombu.exceptions
    import redis

    match error:
        case kombu.exceptions.BatchPublishError():  # some of it may be there all the same
            return _outage_of(error.__cause__)
        case redis.ConnectionError() | redis.TimeoutError() | kombu.exceptions.OperationalError() | OSError():
            return f"Redis is away: {error or type(error).__name__}"
        case redis.ResponseError():
            # A pipeline puts the command, and with it the beginning of a message, before what Redis said.
            said = str(error).rpartition(" of pipeline caused error: ")[2]
            if isinstance(error, redis.exceptions.OutOfMemoryError) or said.startswith(_REFUSES_NOW):
                return f"Redis refuses for now: {said}"
    return None


class RedisClock:
    """Redis' own clock in seconds since 1970, carried on by this process's monotonic one.

    All that stamps and compares moments across processes uses it, so that a machine whose clock is wrong neither
    hurries nor delays anything.
    """

    _SYNC_EVERY_S = 30.0
    _SLOW_S = 1.0  # an answer that took longer says too little

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._offset = time.time() - time.monotonic()
        self._synced_at = float("-inf")

    def __call__(self) -> float:
        """The time now. Where Redis is away, what it said before goes on."""
        if time.monotonic() - self._synced_at > self._SYNC_EVERY_S:
            with suppress(BrokerOutageError), outages():
                self._sync()
        return time.monotonic() + self._offset

    def _sync(self) -> None:
        before = time.monotonic()
        seconds, micros = self._redis.time()
        after = time.monotonic()
        if self._synced_at == float("-inf") or after - before < self._SLOW_S:
            self._offset = seconds + micros / 1e6 - (before + after) / 2
            self._synced_at = after


def connect(url: str) -> Any:
    """A Redis client for KARMA's own keys.

    Raises:
        BrokerError: nothing answers there.
    """
    import redis

    client = redis.Redis.from_url(url, socket_connect_timeout=5, socket_timeout=ANSWER_S, health_check_interval=30)
    try:
        client.ping()
    except redis.RedisError as cause:
        raise BrokerError(f"no Redis answers at {_without_password(url)}: {cause}. Is `karma up` running?") from cause
    return client


def current_incarnation(redis: Any) -> str:
    """The life of this Redis, begun here where there is none: a random word and the server's run id.

    The word vanishes when Redis is emptied or restarted without its file; the run id changes with every restart.
    """
    with outages():
        raw = redis.get(INCARNATION_KEY)
    return raw.decode() if raw is not None else renew_incarnation(redis)


def renew_incarnation(redis: Any) -> str:
    """The epoch, begun anew where the server was restarted since it was written."""
    with outages():
        run_id = redis.info("server")["run_id"]
        raw = redis.get(INCARNATION_KEY)
        if raw is None:
            redis.set(INCARNATION_KEY, f"{secrets.token_hex(4)}:{run_id}", nx=True)
        elif not raw.decode().endswith(run_id):
            redis.set(INCARNATION_KEY, f"{secrets.token_hex(4)}:{run_id}")
        raw = redis.get(INCARNATION_KEY)
    return raw.decode() if raw is not None else ""


def has_room(redis: Any) -> bool:
    """Whether Redis has memory for more work, besides the results of what it carries already."""
    with outages():
        memory = redis.info("memory")
    limit = memory.get("maxmemory", 0)
    return not limit or memory["used_memory"] < _FULL_SHARE * limit


def wake(redis: Any) -> None:
    """Tell a gateway that there is something to do; many calls are one. Where Redis is away, it looks by itself."""
    with suppress(BrokerOutageError), outages():
        pipe = redis.pipeline(transaction=False)
        pipe.lpush(WAKE_KEY, 1)
        pipe.ltrim(WAKE_KEY, 0, 0)
        pipe.execute()


def say_full(redis: Any) -> None:
    """Ask to be woken when there is room: prompts wait that could not be admitted."""
    with suppress(BrokerOutageError), outages():
        redis.set(FULL_KEY, 1, ex=_FULL_S)


def say_room(redis: Any) -> None:
    """Wake a gateway if prompts wait for room; waking for nothing would make who is woken for what a pattern."""
    with suppress(BrokerOutageError), outages():
        if redis.exists(FULL_KEY):
            wake(redis)


def _without_password(url: str) -> str:
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or 6379}{parts.path}"
