"""Access control of Redis: one user per service, with the commands and the keys that it uses and no others.

A *grant* is some commands on some keys. Each becomes a selector of its user (Redis 7.2 or Valkey), so that no command
reaches the keys of another grant. The commands of a script are checked one by one by the same grants. Queues of models
and judges are granted by pattern; which of their messages a worker can write is decided by its signing keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from karma.config.redis_address import ADMIN, USERS
from karma.queue.redis import (
    CLAIMS_KEY,
    FATES_KEY,
    FULL_KEY,
    INCARNATION_KEY,
    KEPT_KEY,
    LIMIT_KEY,
    REFUSED_KEY,
    SPENT_KEY,
    TOMBSTONES_KEY,
    WAKE_KEY,
    WORKERS_KEY,
)

#: Who may only ask whether the server answers, without a password: its health check.
HEALTH = "health"

GENERATE, SCORE, MATCH, JUDGE, LEARN = "generate.*", "score", "match", "judge.*", "learn"
_ALL = (GENERATE, SCORE, MATCH, JUDGE, LEARN)


@dataclass(frozen=True)
class Grant:
    """Commands, and the patterns of the keys that they may be used on; without keys, commands that have none."""

    commands: tuple[str, ...]
    keys: tuple[str, ...] = ()

    def __str__(self) -> str:
        """As the rules of a user."""
        return " ".join([*(f"+{command}" for command in self.commands), *(f"~{key}" for key in self.keys)])


def _lists(queue: str) -> tuple[str, ...]:
    """The lists of a queue: kombu adds two control characters and the list's number to its name."""
    return (queue,) if queue.endswith("*") else (queue, f"{queue}??[1235689]")


def _on_lists(commands: tuple[str, ...], *queues: str) -> Grant:
    return Grant(commands, tuple(key for queue in queues for key in _lists(queue)))


def _bindings(*queues: str) -> Grant:
    """kombu declares each queue that it reads or writes."""
    return Grant(("sadd",), tuple(f"_kombu.{table}.{queue}" for queue in queues for table in _TABLES))


_TABLES = ("binding", "binding_permanent")
_CONNECTION = ("ping", "time", "client|setinfo")
_HEARTBEAT = Grant(("hset", "hdel"), (WORKERS_KEY,))
_WAKE = Grant(("lpush", "ltrim"), (WAKE_KEY,))
_SPENT = Grant(("smembers",), (SPENT_KEY,))
_MARK_SPENT = Grant(("sadd",), (SPENT_KEY,))
_REFUSE = Grant(("lpush", "ltrim"), (REFUSED_KEY,))
_EVALUATE = Grant(("evalsha",), (CLAIMS_KEY, TOMBSTONES_KEY, INCARNATION_KEY, KEPT_KEY, FATES_KEY))

#: What the scripts of `karma.queue.claims` do that end a claim, and those that acquire, renew and release one.
_END = (
    Grant(("zscore", "zrem"), (CLAIMS_KEY,)),
    Grant(("zscore", "zadd"), (TOMBSTONES_KEY,)),
    Grant(("hdel",), (KEPT_KEY, FATES_KEY)),
)
_CLAIM = (*_END, Grant(("zadd",), (CLAIMS_KEY,)), Grant(("get",), (INCARNATION_KEY,)), Grant(("hset",), (FATES_KEY,)))


def _worker(reads: tuple[str, ...], *writes: str) -> tuple[Grant, ...]:
    """What every worker of a stage does: consume, claim, publish, refuse, and send heartbeats."""
    return (
        Grant((*_CONNECTION, "multi", "exec", "script|load")),
        _on_lists(("brpop", "llen", "lindex"), *reads),
        _on_lists(("lpush", "llen"), *writes),
        _bindings(*reads, *writes),
        _EVALUATE,
        *_CLAIM,
        _HEARTBEAT,
        _SPENT,
        _REFUSE,
    )


#: What workers of endpoints share (`karma.queue.endpoint_limits`), and who reads it.
_LIMITS = Grant(("evalsha", "get", "set"), (f"{LIMIT_KEY}*",))
_READ_LIMITS = Grant(("get",), (f"{LIMIT_KEY}*",))

_ROOM = (
    Grant(("evalsha",), (CLAIMS_KEY, TOMBSTONES_KEY, KEPT_KEY, FATES_KEY, FULL_KEY, WAKE_KEY)),
    Grant(("exists",), (FULL_KEY,)),
    _WAKE,
)
_LOOK = (Grant(_CONNECTION), _on_lists(("llen", "lindex"), *_ALL), Grant(("hvals",), (WORKERS_KEY,)), _WAKE)

#: What each service may do.
GRANTS: Mapping[str, tuple[Grant, ...]] = {
    "gateway": (
        Grant((*_CONNECTION, "multi", "exec", "script|load", "info")),
        _on_lists(("lpush", "llen", "lindex"), *_ALL),
        _bindings(*_ALL),
        Grant(("evalsha",), (CLAIMS_KEY, TOMBSTONES_KEY, KEPT_KEY, FATES_KEY)),
        *_END,
        Grant(("zmscore",), (TOMBSTONES_KEY,)),
        Grant(("zrange",), (CLAIMS_KEY,)),
        Grant(("zremrangebyscore",), (TOMBSTONES_KEY,)),
        Grant(("hget",), (KEPT_KEY,)),
        Grant(("hgetall",), (FATES_KEY, WORKERS_KEY)),
        Grant(("hvals",), (WORKERS_KEY,)),
        Grant(("get", "set"), (INCARNATION_KEY,)),
        Grant(("set",), (FULL_KEY,)),
        _READ_LIMITS,
        Grant(("smembers", "sadd", "srem"), (SPENT_KEY,)),
        Grant(("blpop",), (WAKE_KEY,)),
        _WAKE,
        _HEARTBEAT,
        _REFUSE,
    ),
    "generation": (*_worker((GENERATE,), SCORE), _LIMITS),
    "scoring": (*_worker((SCORE, LEARN), MATCH, JUDGE), Grant(("hset",), (KEPT_KEY,)), _MARK_SPENT, *_ROOM),
    "matching": (*_worker((MATCH,), JUDGE), *_ROOM),
    "judging": (*_worker((JUDGE,), LEARN), _LIMITS),
    "page": (*_LOOK, _HEARTBEAT, _READ_LIMITS),
    "cli": (*_LOOK, _READ_LIMITS, Grant(("llen", "lrange"), (REFUSED_KEY,))),
}


def acl_lines(passwords: Mapping[str, str]) -> list[str]:
    """The lines of an ACL file. It holds the passwords' SHA-256 only.

    Args:
        passwords: by user: all of `USERS`, and the administrator if there is to be one.
    """
    lines = ["user default off resetchannels -@all", f"user {HEALTH} on nopass resetchannels -@all +ping"]
    for user in USERS:
        alone, *others = GRANTS[user]
        selectors = " ".join(f"({grant})" for grant in others)
        lines.append(f"user {user} on #{_hash(passwords[user])} resetchannels -@all {alone} {selectors}")
    if ADMIN in passwords:
        lines.append(f"user {ADMIN} on #{_hash(passwords[ADMIN])} ~* &* +@all")
    return lines


def _hash(password: str) -> str:
    return sha256(password.encode()).hexdigest()
