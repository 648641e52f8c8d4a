"""A Redis stream, read as one consumer of a group.

An entry is acknowledged once its prompt is committed: whoever takes a chunk commits it before asking for the next one.
The entries of a consumer that crashed between the two are taken over after a minute, and are already present then.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

from karma.errors import BrokerOutageError, SettingsError
from karma.queue.redis import connect, outages
from karma_gateway.sources.items import Fault, Item, Line, Row

PREFIX = "redis:"
#: Milliseconds after which an entry that a consumer has not acknowledged is another's.
TAKEN_OVER_AFTER_MS = 60_000

_ENTRIES_AT_ONCE = 500
_BLOCK_MS = 1000
_OUTAGE_S = 1.0

log = logging.getLogger(__name__)


def stream_chunks(
    url: str, stream: str, group: str, follow: bool, taken_over_after_ms: int = TAKEN_OVER_AFTER_MS
) -> Iterator[list[Item]]:
    """The entries of a stream that nobody of the group has taken, or that a crashed consumer has left.

    Args:
        url: of the Redis.
        stream: its key.
        group: made if it is missing, from the beginning of the stream on.
        follow: go on with new entries without end; yields an empty list where none came.
        taken_over_after_ms: idle time after which an entry is taken over.

    Raises:
        BrokerError: no Redis answers, or, unless it is followed, it is unavailable later; what was yielded last is not
            acknowledged then.
        SettingsError: the key holds no stream, or there is none.
    """
    redis = connect(url)
    consumer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    while True:
        try:
            yield from _entries(redis, stream, group, consumer, follow, taken_over_after_ms)
            return
        except BrokerOutageError as cause:
            if not follow:
                raise
            log.warning("%s%s: %s; it is tried again", PREFIX, stream, cause)
            yield []
            time.sleep(_OUTAGE_S)


def _entries(
    redis: Any, stream: str, group: str, consumer: str, follow: bool, taken_over_after_ms: int
) -> Iterator[list[Item]]:
    """The entries until there are no more, or Redis is unavailable."""
    with outages():
        _join(redis, stream, group, create=follow)
        while True:
            entries, lost = _left_behind(redis, stream, group, consumer, taken_over_after_ms)
            if not entries and not lost:
                entries = _new(redis, stream, group, consumer, _BLOCK_MS if follow else None)
            if not entries and not lost and not follow:
                _leave(redis, stream, group, consumer)
                return
            yield [*(_item(stream, *entry) for entry in entries), *(_lost(stream, id_) for id_ in lost)]
            if entries:
                redis.xack(stream, group, *(id_ for id_, _fields in entries))


def _join(redis: Any, stream: str, group: str, create: bool) -> None:
    from redis.exceptions import ResponseError

    kind = redis.type(stream).decode()
    if kind not in ("stream", "none"):
        raise SettingsError(f"{PREFIX}{stream}: holds a {kind}, expected a stream (XADD)")
    if kind == "none" and not create:
        raise SettingsError(f"{PREFIX}{stream}: there is no such stream; with --follow it is waited for")
    try:
        redis.xgroup_create(stream, group, id="0", mkstream=True)
    except ResponseError as cause:
        if not str(cause).startswith("BUSYGROUP"):  # the group exists
            raise


def _left_behind(redis: Any, stream: str, group: str, consumer: str, idle_ms: int) -> tuple[list[Any], list[bytes]]:
    """Entries of other consumers that are silent, and the ids of those that the stream has lost meanwhile."""
    start: Any = "0-0"
    while True:
        start, entries, *deleted = redis.xautoclaim(stream, group, consumer, idle_ms, start, count=_ENTRIES_AT_ONCE)
        lost = list(deleted[0]) if deleted else []
        if entries or lost or start == b"0-0":
            return list(entries), lost


def _new(redis: Any, stream: str, group: str, consumer: str, block_ms: int | None) -> list[Any]:
    found = redis.xreadgroup(group, consumer, {stream: ">"}, count=_ENTRIES_AT_ONCE, block=block_ms)
    return list(found[0][1]) if found else []


def _leave(redis: Any, stream: str, group: str, consumer: str) -> None:
    """Remove the consumer, unless entries are pending under its name: Redis would forget these."""
    own = [each for each in redis.xinfo_consumers(stream, group) if each["name"] == consumer.encode()]
    if own and own[0]["pending"] == 0:
        redis.xgroup_delconsumer(stream, group, consumer)


def _item(stream: str, id_: bytes, fields: Mapping[bytes, bytes]) -> Item:
    """An entry of one field that holds JSON as a line, any other as a row of texts."""
    source = f"{PREFIX}{stream}/{id_.decode()}"
    values = list(fields.values())
    if len(values) == 1 and values[0].lstrip().startswith(b"{"):
        return Line(source, 0, values[0])
    texts = {_text(name): _text(value) for name, value in fields.items()}
    return Row(source, 0, texts)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")  # a lone surrogate is refused with its row


def _lost(stream: str, id_: bytes) -> Fault:
    return Fault(f"{PREFIX}{stream}/{id_.decode()}", 0, "the stream was trimmed before this entry was taken")
