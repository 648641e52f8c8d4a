"""Celery's application, the names of its queues, and publishing to them.

The queues are `generate.<model>`, `score`, `match`, `judge.<judge>` and `learn`.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from karma.config.redis_address import RedisAddress
from karma.messages import Batch, GenerateBatch, JudgeBatch, stage_of
from karma.messages.lanes import is_express
from karma.messages.signing import UNSIGNED, Keyring, channel
from karma.messages.wire import encode
from karma.queue.backlog import LISTS, list_number, priority_list
from karma.queue.entries import READ, write_entry
from karma.queue.redis import ANSWER_S, outages


def task_name(stage: str) -> str:
    """The Celery task of a stage."""
    return f"karma.{stage}"


def target_of(batch: Batch) -> str:
    """The model or judge that a message asks; empty if it asks none."""
    match batch:
        case GenerateBatch():
            return batch.model
        case JudgeBatch():
            return batch.judge
    return ""


def queue_of(batch: Batch) -> str:
    """The queue that a message belongs to."""
    return queue_name(stage_of(batch), target_of(batch))


def queue_name(stage: str, target: str) -> str:
    """The queue of a stage's work for a model or judge."""
    return f"{stage}.{target}" if target else stage


def create_app(url: str) -> Any:
    """Celery's application, configured to carry messages and nothing else.

    No result backend, events, remote control or acknowledgement in Redis: the ledger records open work, and each of
    these costs more than the work itself (decision 0002).
    """
    from celery import Celery

    address = RedisAddress.parse(url)
    app = Celery("karma", broker=address.url, set_as_current=False)
    app.conf.update(
        broker_transport="karma.queue.guarded_transport:GuardedTransport",
        broker_use_ssl=_for_kombu(address.tls) or False,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=[READ],
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
        broker_channel_error_retry=True,  # an error such as a full disk ends no consumer
        broker_transport_options={
            "ack_emulation": False,
            "priority_steps": sorted(LISTS),
            "socket_keepalive": True,
            "socket_connect_timeout": 5,
            "socket_timeout": ANSWER_S,
            "health_check_interval": 2,  # a half-open connection is detected within three times this
        },
    )
    return app


def _for_kombu(tls: Mapping[str, Any]) -> dict[str, Any]:
    """The options of TLS for kombu, which also looks at the requirement itself and wants a constant of `ssl`."""
    required = {"required": ssl.CERT_REQUIRED, "none": ssl.CERT_NONE}
    return {**tls, "ssl_cert_reqs": required[tls["ssl_cert_reqs"]]} if tls else {}


def in_line(task: Any, _app: Any, _consumer: Any, **_options: Any) -> Callable[..., None]:
    """Celery's strategy for a task of a worker without a thread pool: run it as it is received.

    Celery's default makes a request of the message and traces the task, which costs 0.1 ms of CPU. A stage needs
    neither: it never raises, and has no result, retry, time limit or time to wait for.
    """

    def receive(message: Any, *_handlers: Any, **_more: Any) -> None:
        message.ack()  # within this process: the transport keeps no acknowledgements in Redis
        arguments, _keywords, _embedded = message.payload
        task.run(*arguments)

    return receive


#: What one command to Redis, and one round trip, carry at most, bytes, unless one message is longer. Redis holds a
#: command as a whole before it runs it: a long one may need memory that each of its messages would not.
_COMMAND_BYTES = 256 << 10
_ROUND_TRIP_BYTES = 1 << 20


class Publisher:
    """Signs and publishes messages, those of one call in one round trip to Redis, or in several if they are long."""

    def __init__(self, redis: Any, keys: Keyring = UNSIGNED) -> None:
        self._redis = redis
        self.keyring = keys

    def publish(self, messages: Sequence[Batch], sender: str = "") -> None:
        """Publish messages to their queues.

        Args:
            messages: what to publish.
            sender: the model or judge whose results they are; empty for what the ledger itself says.

        Raises:
            BrokerOutageError: Redis is unavailable; some of the messages may have been published.
        """
        entries = [self._entry(message, sender) for message in messages]
        with outages():
            for trip in _up_to(_ROUND_TRIP_BYTES, entries):
                lists: dict[str, list[tuple[str, bytes]]] = {}
                for name, entry in trip:
                    lists.setdefault(name, []).append((name, entry))
                pipe = self._redis.pipeline(transaction=False)
                for name, same in lists.items():
                    for command in _up_to(_COMMAND_BYTES, same):
                        pipe.lpush(name, *(entry for _name, entry in command))
                pipe.execute()

    def _entry(self, message: Batch, sender: str) -> tuple[str, bytes]:
        """The list that a message goes to, and its entry there."""
        stage, queue = stage_of(message), queue_of(message)
        sealed = self.keyring.seal(channel(stage, sender or target_of(message)), encode(message))
        step = message.header.priority, is_express(message.header.batch)
        return priority_list(queue, *step), write_entry(stage, sealed, queue, list_number(*step))


def _up_to(most_bytes: int, entries: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    """Entries in groups of at most `most_bytes`, or of one."""
    group: list[tuple[str, bytes]] = []
    size = 0
    for entry in entries:
        if group and size + len(entry[1]) > most_bytes:
            yield group
            group, size = [], 0
        group.append(entry)
        size += len(entry[1])
    if group:
        yield group
