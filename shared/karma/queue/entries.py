"""Entries of the queues' Redis lists: written as Celery and kombu write them, and read strictly.

Only what `Publisher` writes is an entry of KARMA's: one task of a stage with one text, without compression, a time to
wait for, callbacks or another of Celery's instructions. Everything else is refused before anything of it is decoded
further, so that what somebody else puts into Redis starts nothing.
"""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from karma.errors import RefusedError

#: The content type of a body that is read already.
READ = "application/x-karma-read"

#: The longest entry that is decoded, bytes. A batch has 256 KiB of text, a prompt 1 MiB and an answer 16 MiB at most.
MOST_BYTES = 32 << 20

_STAGES = ("generate", "score", "match", "judge", "learn")

_Short = Annotated[str, Meta(max_length=200)]


class _Headers(msgspec.Struct):
    task: _Short
    id: _Short
    eta: None = None
    expires: None = None
    group: None = None
    compression: None = None
    stamps: dict[str, None] | None = None


class _Properties(msgspec.Struct):
    body_encoding: Literal["base64"]
    priority: Annotated[int, Meta(ge=0, le=9)] = 9


class _Entry(msgspec.Struct):
    body: bytes  # base64 in JSON
    headers: _Headers
    properties: _Properties
    content_type: Literal["application/json"] = msgspec.field(name="content-type")
    content_encoding: Literal["utf-8"] = msgspec.field(name="content-encoding")


class _Embedded(msgspec.Struct):
    callbacks: None = None
    errbacks: None = None
    chain: None = None
    chord: None = None


class Entry(NamedTuple):
    """An entry in KARMA's form: the stage whose task it names, and its sealed text."""

    stage: str
    task_id: str
    sealed: str


_EMBEDDED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}

#: What Celery's protocol 2 says of every task here.
_HEADERS: dict[str, Any] = {
    "shadow": None,
    "eta": None,
    "expires": None,
    "group": None,
    "group_index": None,
    "retries": 0,
    "timelimit": [None, None],
    "parent_id": None,
    "argsrepr": "",
    "kwargsrepr": "{}",
    "origin": "karma",
    "ignore_result": True,
    "replaced_task_nesting": 0,
    "stamped_headers": None,
    "stamps": {},
}

_encoder = msgspec.json.Encoder()
_entry = msgspec.json.Decoder(_Entry)
_body = msgspec.json.Decoder(tuple[tuple[str], dict[str, None], _Embedded])


def read_entry(raw: bytes) -> Entry:
    """Read an entry of a queue's list.

    Raises:
        RefusedError: KARMA did not write it.
    """
    if len(raw) > MOST_BYTES:
        raise RefusedError("size", f"it has {len(raw):,} bytes, expected at most {MOST_BYTES:,}")
    try:
        entry = _entry.decode(raw)
        (sealed,), keywords, _embedded = _body.decode(entry.body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as cause:
        raise RefusedError("form", f"it is no message of a task: {type(cause).__name__}") from cause
    prefix, _, stage = entry.headers.task.partition(".")
    if prefix != "karma" or stage not in _STAGES or keywords:
        raise RefusedError("task", "it is of a task that KARMA does not have, or has arguments that it does not take")
    return Entry(stage, entry.headers.id, sealed)


def write_entry(stage: str, sealed: str, queue: str, priority: int) -> bytes:
    """The entry of a task of a stage with a sealed text: what Celery 5 and kombu 5 write and read.

    Celery's own `send_task` writes the same in 0.3 ms of CPU; it also repeats the beginning of the text in `argsrepr`.
    `priority` is the number of the list.
    """
    id_ = str(uuid.uuid4())
    headers = {"lang": "py", "task": f"karma.{stage}", "id": id_, "root_id": id_, **_HEADERS}
    address = {"exchange": "", "routing_key": queue}
    properties = {"correlation_id": id_, "delivery_tag": id_, "delivery_info": address, "priority": priority}
    entry = {
        "body": _encoder.encode(([sealed], {}, _EMBEDDED)),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": {**properties, "delivery_mode": 1, "body_encoding": "base64"},
    }
    return _encoder.encode(entry)


def as_delivered(entry: Entry, queue: str) -> dict[str, Any]:
    """The entry as kombu delivers it to Celery, with the queue that it was in. Nothing but its text is from Redis.

    Its body is read already: the content type's decoder returns it as it is.
    """
    return {
        "body": [[entry.sealed, queue], {}, {}],
        "content-type": READ,
        "content-encoding": "utf-8",
        "headers": {"lang": "py", "task": f"karma.{entry.stage}", "id": entry.task_id, "root_id": entry.task_id},
        "properties": {"delivery_tag": entry.task_id, "delivery_info": {}, "priority": 9},
    }
