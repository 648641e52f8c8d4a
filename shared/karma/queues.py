"""The queues: Celery's application, their names, publishing to them, and what waits in them.

They are Celery's lists: `generate.<model>`, `score`, `match`, `judge.<judge>`, `learn`; a priority other than the
lowest has a list of its own, as kombu names it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from karma.broker import ANSWER_S, outages
from karma.errors import MessageError
from karma.messages import Batch, GenerateBatch, JudgeBatch, LearnBatch, MatchBatch, ScoreBatch, decode, encode

#: kombu serves 0 first. KARMA's priorities are 0 to 9, higher first, kept apart in these four steps.
_PRIORITY_STEPS = (0, 3, 6, 9)
_SEPARATOR = "\x06\x16"


def task_name(stage: str) -> str:
    """The Celery task of a stage."""
    return f"karma.{stage}"


def queue_of(batch: Batch) -> str:
    """The queue a message belongs to."""
    match batch:
        case GenerateBatch():
            return f"generate.{batch.model.name}"
        case JudgeBatch():
            return f"judge.{batch.judge.name}"
        case ScoreBatch():
            return "score"
        case MatchBatch():
            return "match"
        case LearnBatch():
            return "learn"


def queue_name(stage: str, target: str) -> str:
    """The queue of a stage's work for a model or judge."""
    return f"{stage}.{target}" if target else stage


def create_app(url: str) -> Any:
    """Celery's application, set up to carry messages and nothing else.

    No result backend, events, remote control or acknowledgement in Redis: the ledger knows what is open, and each of
    these costs more than the work itself (decision 0002).
    """
    from celery import Celery
    from kombu.transport.redis import Channel

    # When its connection is lost kombu would put what is in hand back into the queue, to be done twice, or else write
    # it, prompts and all, to a file in the temporary folder. What is lost is sent again from the ledger.
    Channel.do_restore = False
    app = Celery("karma", broker=url, set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_acks_late=True,
        task_create_missing_queues=True,
        task_default_delivery_mode="transient",
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,  # what Redis refuses for now, as on a full disk, ends no consumer
        broker_transport_options={
            "ack_emulation": False,
            "priority_steps": list(_PRIORITY_STEPS),
            "socket_keepalive": True,
            "socket_connect_timeout": 5,
            "socket_timeout": ANSWER_S,
            "health_check_interval": 2,  # a half-open consumer is found within three times this
        },
    )
    return app


class Publisher:
    """Publishes messages, all of one call in one round trip to Redis. One for each thread."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def probe(self) -> None:
        """Find out now whether the connection still works, and not when a message waits for it.

        Raises:
            BrokerOutageError: it did not; the next one is new.
        """
        with outages(), self._app.producer_or_acquire() as producer:
            producer.channel.client.ping()

    def publish(self, messages: Sequence[Batch]) -> None:
        """Hand messages to their queues.

        Raises:
            BrokerOutageError: Redis is away; some of the messages may be there all the same.
        """
        if not messages:
            return
        with outages(), self._app.producer_or_acquire() as producer, producer.batch():
            for message in messages:
                queue = queue_of(message)
                stage = queue.partition(".")[0]
                self._app.send_task(
                    task_name(stage),
                    args=[encode(message)],
                    queue=queue,
                    producer=producer,
                    priority=9 - message.header.priority,
                    ignore_result=True,
                    retry=False,
                )


def queue_lists(queue: str) -> list[str]:
    """The Redis lists of a queue, one a priority step, most urgent first."""
    return [queue if step == 0 else f"{queue}{_SEPARATOR}{step}" for step in _PRIORITY_STEPS]


def priority_list(queue: str, priority: int) -> str:
    """The Redis list in which a message of this priority waits."""
    step = max(step for step in _PRIORITY_STEPS if step <= 9 - priority)
    return queue if step == 0 else f"{queue}{_SEPARATOR}{step}"


def any_waits(redis: Any, queues: Sequence[str]) -> bool:
    """Whether a batch waits in any of the queues."""
    with outages():
        pipe = redis.pipeline(transaction=False)
        for queue in queues:
            for name in queue_lists(queue):
                pipe.llen(name)
        return any(pipe.execute())


def head_published_at(redis: Any, queue: str, priority: int) -> float | None:
    """When the batch that comes next from a queue was published; None where none waits."""
    with outages():
        raw = redis.lindex(priority_list(queue, priority), -1)
    return None if raw is None else published_at(raw)


def published_at(raw: bytes) -> float | None:
    """When a message was published, read from what lies in a Redis list; None where it is not KARMA's."""
    try:
        body = json.loads(base64.b64decode(json.loads(raw)["body"]))
        return decode(body[0][0]).header.published_at
    except (ValueError, KeyError, IndexError, TypeError, MessageError):
        return None


def queue_state(redis: Any, queues: Sequence[str], now: float) -> dict[str, tuple[int, float]]:
    """Length and age of the oldest batch in seconds, per queue."""
    lists = [(queue, name) for queue in queues for name in queue_lists(queue)]
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
