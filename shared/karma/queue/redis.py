"""Redis: the connection, its clock, its incarnation id, and its outages as one error.

Every key that KARMA itself keeps in Redis:

| key | type | content |
| --- | --- | --- |
| `karma:epoch` | string | the incarnation id of this Redis: set when missing; without it, everything was lost |
| `karma:claims` | sorted set | claim → last heartbeat (`karma.queue.claims`) |
| `karma:done` | sorted set | tombstones: claim → when it was completed or revoked; 15 minutes |
| `karma:kept` | hash | claim on results → its message, until the results are recorded |
| `karma:fates` | hash | released claim → why |
| `karma:refused` | list | the newest 100 messages that were refused, JSON (`karma.queue.refused`) |
| `karma:limit:<endpoint>` | string | what its workers share, JSON (`karma.queue.endpoint_limits`); a day |
| `karma:workers` | hash | worker id → service, host and last heartbeat, JSON (`karma.queue.heartbeats`) |
| `karma:wake` | list | at most one entry: a gateway has something to do |
| `karma:spent` | set | streams whose budget is spent; `*`: that of all streams (`karma.queue.spent`) |
| `karma:full` | string | prompts wait for room: a worker that makes room wakes a gateway; 2 s |
"""

from __future__ import annotations

import secrets
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from karma.config.redis_address import RedisAddress
from karma.errors import BrokerError, BrokerOutageError

INCARNATION_KEY = "karma:epoch"
CLAIMS_KEY = "karma:claims"
TOMBSTONES_KEY = "karma:done"
KEPT_KEY = "karma:kept"
FATES_KEY = "karma:fates"
WORKERS_KEY = "karma:workers"
WAKE_KEY = "karma:wake"
FULL_KEY = "karma:full"
REFUSED_KEY = "karma:refused"
SPENT_KEY = "karma:spent"

#: The prefix of the states of endpoints.
LIMIT_KEY = "karma:limit:"

#: Longer than a gateway waits between two rounds: each marks anew.
_FULL_S = 2

#: Seconds for which a worker goes by the incarnation id that it read last.
_INCARNATION_S = 1.0

#: Seconds that Redis may take to answer. Without a limit a half-open connection would block a thread forever.
ANSWER_S = 2.0

#: Above this share of Redis' `maxmemory` no prompt is admitted: the rest is reserved for results.
_FULL_SHARE = 0.7

#: How Redis' errors begin when it refuses a command for now.
_REFUSES_NOW = ("MISCONF", "OOM", "LOADING", "MASTERDOWN", "NOREPLICAS", "READONLY", "BUSY", "TRYAGAIN", "CLUSTERDOWN")


@contextmanager
def outages() -> Iterator[None]:
    """Raise one error for all errors of Redis' clients that mean: unavailable, loading or full, so try again later.

    Raises:
        BrokerOutageError: Redis cannot run the command now.
    """
    try:
        yield
    except Exception as cause:
        reason = _outage_of(cause)
        if reason is None:
            raise
        raise BrokerOutageError(reason) from cause


def _outage_of(error: BaseException | None) -> str | None:
    """Why Redis is unavailable or refuses for now; None if the error has another cause."""
    import redis

    match error:
        case redis.ConnectionError() | redis.TimeoutError() | OSError():
            if _tls_error(error):
                return f"Redis is unavailable: {_words(error)}"
            return f"Redis is unavailable: {error or type(error).__name__}"
        case redis.ResponseError():
            return _refusal(error)
    return None


def _refusal(error: BaseException) -> str | None:
    """Why Redis refuses a command, if it may accept it later."""
    import redis

    # A pipeline puts the command, and with it the beginning of a message, before Redis' own text.
    text = str(error).rpartition(" of pipeline caused error: ")[2]
    if isinstance(error, redis.exceptions.NoPermissionError):
        return f"Redis refuses this user: {text}. Check KARMA_REDIS_USER, and what this user may do"
    if isinstance(error, redis.exceptions.OutOfMemoryError) or text.startswith(_REFUSES_NOW):
        return f"Redis refuses for now: {text}"
    if text.startswith("WRONGTYPE"):
        return "a key of KARMA's in Redis has another type: something else wrote it. Delete it (DEL KEY)"
    return None


def server_time(redis: Any) -> float:
    """The time of Redis' own clock, seconds since 1970."""
    seconds, micros = redis.time()
    return float(seconds + micros / 1e6)


class RedisClock:
    """Redis' own clock in seconds since 1970, extrapolated by this process's monotonic clock.

    All times that processes compare come from it, so that a wrong clock of a machine has no effect.
    """

    _SYNC_EVERY_S = 30.0
    _SLOW_S = 1.0  # an answer that took longer is too imprecise

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._offset = time.time() - time.monotonic()
        self._synced_at = float("-inf")

    def __call__(self) -> float:
        """The time now; extrapolated while Redis is unavailable."""
        if time.monotonic() - self._synced_at > self._SYNC_EVERY_S:
            with suppress(BrokerOutageError), outages():
                self._sync()
        return time.monotonic() + self._offset

    def _sync(self) -> None:
        before = time.monotonic()
        now = server_time(self._redis)
        after = time.monotonic()
        if self._synced_at == float("-inf") or after - before < self._SLOW_S:
            self._offset = now - (before + after) / 2
            self._synced_at = after


def connect(url: str) -> Any:
    """A Redis client for KARMA's own keys.

    Raises:
        BrokerError: no Redis answers there.
        SettingsError: it is no URL of a Redis.
    """
    import redis

    address = RedisAddress.parse(url)
    limits = {"socket_connect_timeout": 5, "socket_timeout": ANSWER_S, "health_check_interval": 30}
    client = redis.Redis.from_url(address.url, **limits, **address.tls)
    try:
        client.ping()
    except (redis.RedisError, OSError) as cause:
        hint = "Does this port speak TLS?" if address.tls else "Is `karma up` running?"
        if isinstance(cause, redis.AuthenticationError):
            hint = "Check KARMA_REDIS_USER and KARMA_REDIS_PASSWORD"
        raise BrokerError(f"no Redis answers at {address.shown}: {_words(cause, hint)}") from cause
    return client


def _words(error: BaseException, hint: str = "") -> str:
    """A client's error as the end of a sentence, with what to do: `hint`, unless TLS failed."""
    match _tls_error(error):
        case ssl.SSLCertVerificationError() as refused:
            return (
                f"its certificate is refused: {refused.verify_message.rstrip('.')}. Name the file of its CA with "
                "?ssl_ca_certs=FILE in KARMA_REDIS_URL (ssl_cert_reqs=none verifies nothing)"
            )
        case ssl.SSLError() as failed:
            return f"TLS failed: {failed.reason or failed}. Does this port speak TLS, or ask for ssl_certfile?"
    return f"{str(error).rstrip('.')}. {hint}".rstrip()


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """The TLS error that an error comes from."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error


def current_incarnation(redis: Any) -> str:
    """The incarnation id of this Redis, created if there is none: a random word and the server's run id.

    The word is lost when Redis is emptied or restarted without its file; the run id changes with every restart.
    """
    with outages():
        raw = redis.get(INCARNATION_KEY)
    return raw.decode("utf-8", "replace") if raw is not None else renew_incarnation(redis)


class Incarnation:
    """The incarnation id of this Redis, asked for once a second at most; for any number of threads.

    A message of an earlier incarnation is void, and the sweeper sends its work again: a restart of Redis within that
    second costs time, and loses nothing.
    """

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._known = ("", float("-inf"))  # the id, and the monotonic time from which on it is asked for again

    def __call__(self) -> str:
        """The id.

        Raises:
            BrokerOutageError: Redis is unavailable.
        """
        known, until = self._known
        if time.monotonic() >= until:
            known = current_incarnation(self._redis)
            self._known = known, time.monotonic() + _INCARNATION_S
        return known


def renew_incarnation(redis: Any) -> str:
    """The incarnation id, replaced if the server was restarted since it was written."""
    with outages():
        run_id = redis.info("server")["run_id"]
        raw = redis.get(INCARNATION_KEY)
        if raw is None or not raw.decode("utf-8", "replace").endswith(run_id):
            redis.set(INCARNATION_KEY, f"{secrets.token_hex(4)}:{run_id}", nx=raw is None)
        raw = redis.get(INCARNATION_KEY)
    return raw.decode("utf-8", "replace") if raw is not None else ""


def has_room(redis: Any) -> bool:
    """Whether Redis has memory for more work besides the results of the work in flight."""
    with outages():
        memory = redis.info("memory")
    limit = memory.get("maxmemory", 0)
    return not limit or memory["used_memory"] < _FULL_SHARE * limit


def wake(redis: Any) -> None:
    """Wake a gateway; many calls count as one. Best effort: a gateway also polls."""
    with suppress(BrokerOutageError), outages():
        pipe = redis.pipeline(transaction=False)
        pipe.lpush(WAKE_KEY, 1)
        pipe.ltrim(WAKE_KEY, 0, 0)
        pipe.execute()


def mark_full(redis: Any) -> None:
    """Mark that prompts wait for room, so that a worker that makes room wakes the gateway."""
    with suppress(BrokerOutageError), outages():
        redis.set(FULL_KEY, 1, ex=_FULL_S)
