"""The backlog: messages that wait in the queues. A queue is Redis lists named by kombu, two per priority step.

A step's express list is for batches of streams that have less than their fair share (`karma.messages.lanes`); the
normal list is the one that earlier versions had alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from karma.config.pool import Pool
from karma.errors import MessageError
from karma.messages.wire import decode
from karma.queue.entries import read_entry
from karma.queue.redis import outages

#: kombu serves step 0 first. KARMA's priorities are 0 to 9, higher first, and share these four steps.
PRIORITY_STEPS = (0, 3, 6, 9)

#: The number that names the express list of a step.
_EXPRESS = {0: 1, 3: 2, 6: 5, 9: 8}

#: The numbers of all lists of a queue.
LISTS = (*PRIORITY_STEPS, *_EXPRESS.values())

_SEPARATOR = "\x06\x16"


def list_number(priority: int, express: bool = False) -> int:
    """The number of the list for messages of this priority and lane."""
    step = max(step for step in PRIORITY_STEPS if step <= 9 - priority)
    return _EXPRESS[step] if express else step


def priority_list(queue: str, priority: int, express: bool = False) -> str:
    """The Redis list for messages of this priority and lane."""
    return _list(queue, list_number(priority, express))


def lanes_of(queue: str, step: int) -> tuple[str, str]:
    """The two lists of a queue's priority step: express, normal."""
    return _list(queue, _EXPRESS[step]), _list(queue, step)


def queue_of_list(name: str) -> str:
    """The queue that a Redis list belongs to."""
    return name.rsplit(_SEPARATOR, 1)[0]


def _list(queue: str, number: int) -> str:
    return queue if number == 0 else f"{queue}{_SEPARATOR}{number}"


def head_published_at(redis: Any, name: str) -> float | None:
    """When the next message of a queue's list was published; None if the list is empty."""
    with outages():
        raw = redis.lindex(name, -1)
    return None if raw is None else published_at(raw)


def published_at(raw: bytes) -> float | None:
    """When a message was published, decoded from the entry of a Redis list; None if it is not KARMA's.

    Its signature is not verified: whoever can write to Redis can also remove entries, so only times depend on it.
    """
    try:
        sealed = read_entry(raw).sealed
        return decode(sealed[sealed.find("{") :]).header.published_at
    except MessageError:
        return None


def queue_state(redis: Any, queues: Sequence[str], now: float) -> dict[str, tuple[int, float]]:
    """Per queue: its length, and the age of its oldest message in seconds."""
    lists = [(queue, _list(queue, number)) for queue in queues for number in LISTS]
    states = dict.fromkeys(queues, (0, 0.0))
    with outages():
        pipe = redis.pipeline(transaction=False)
        for _queue, name in lists:
            pipe.llen(name)
            pipe.lindex(name, -1)
        answers = pipe.execute()
    for (queue, _name), count, raw in zip(lists, answers[::2], answers[1::2], strict=True):
        length, age = states[queue]
        head = published_at(raw) if raw is not None else None
        states[queue] = length + count, age if head is None else max(age, now - head)
    return states


def all_queues(pool: Pool) -> list[str]:
    """Every queue of the pipeline."""
    return queues_of(pool.models, pool.judges)


def queues_of(models: Iterable[str], judges: Iterable[str]) -> list[str]:
    """Every queue of a pipeline with these models and judges."""
    generate = [f"generate.{model}" for model in models]
    return [*generate, "score", "match", *(f"judge.{judge}" for judge in judges), "learn"]
