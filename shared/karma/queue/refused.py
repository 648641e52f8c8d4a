"""Refused messages: counted by reason, and the newest kept in Redis for inspection (`karma refused`)."""

from __future__ import annotations

import logging
import time
from typing import Any

import msgspec

from karma.errors import RefusedError
from karma.queue.redis import REFUSED_KEY, outages
from karma.telemetry import metrics

log = logging.getLogger(__name__)

#: Refused messages that are kept, and how much of each, bytes.
KEPT = 100
_KEPT_BYTES = 2_000

#: Seconds between two lines of the log about one reason: whoever can write to Redis must not be able to fill a disk.
_LOG_EVERY_S = 10.0

_logged_at: dict[str, float] = {}


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A refused message: its beginning, and why it was refused."""

    queue: str
    reason: str
    why: str
    at: float  # seconds since 1970, by the clock of the process that refused it
    size: int  # bytes
    beginning: str


def refuse(redis: Any, queue: str, cause: RefusedError, raw: bytes | str) -> None:
    """Count a message that is refused, log it, and keep its beginning.

    Raises:
        BrokerOutageError: it was counted, and Redis is unavailable.
    """
    content = raw.encode("utf-8", "replace") if isinstance(raw, str) else raw
    metrics.REFUSED.labels(queue.partition(".")[0][:20], cause.reason).inc()
    now = time.monotonic()
    if now - _logged_at.get(cause.reason, float("-inf")) >= _LOG_EVERY_S:
        _logged_at[cause.reason] = now
        log.warning("%s: a message is refused: %s (`karma refused` shows the newest %d)", queue[:100], cause, KEPT)
    refused = Refused(
        queue=queue[:200],
        reason=cause.reason,
        why=str(cause),
        at=time.time(),
        size=len(content),
        beginning=content[:_KEPT_BYTES].decode("utf-8", "replace"),
    )
    with outages():
        pipe = redis.pipeline(transaction=False)
        pipe.lpush(REFUSED_KEY, msgspec.json.encode(refused))
        pipe.ltrim(REFUSED_KEY, 0, KEPT - 1)
        pipe.execute()


def refused_count(redis: Any) -> int:
    """How many refused messages are kept."""
    with outages():
        return int(redis.llen(REFUSED_KEY))


def refused_messages(redis: Any) -> list[Refused]:
    """The newest refused messages, newest first; entries that KARMA did not write are left out."""
    with outages():
        encoded = redis.lrange(REFUSED_KEY, 0, KEPT - 1)
    found = []
    for raw in encoded:
        try:
            found.append(msgspec.json.decode(raw, type=Refused))
        except msgspec.MsgspecError:
            continue
    return found
