"""Celery's application, the names of its queues, and publishing to them.

The queues are `generate.<model>`, `score`, `match`, `judge.<judge>` and `learn`.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from typing import Any

from karma.config.redis_address import RedisAddress
from karma.messages import Batch, GenerateBatch, JudgeBatch, encode
from karma.queue.backlog import PRIORITY_STEPS
from karma.queue.redis import ANSWER_S, outages


def task_name(stage: str) -> str:
    """The Celery task of a stage."""
    return f"karma.{stage}"


def queue_of(batch: Batch) -> str:
    """The queue that a message belongs to."""
    stage, _, _version = str(batch.__struct_config__.tag).partition(".")
    match batch:
        case GenerateBatch():
            return queue_name(stage, batch.model.name)
        case JudgeBatch():
            return queue_name(stage, batch.judge.name)
    return stage


def queue_name(stage: str, target: str) -> str:
    """The queue of a stage's work for a model or judge."""
    return f"{stage}.{target}" if target else stage


def create_app(url: str) -> Any:
    """Celery's application, configured to carry messages and nothing else.

    No result backend, events, remote control or acknowledgement in Redis: the ledger records open work, and each of
    these costs more than the work itself (decision 0002).
    """
    from celery import Celery
    from kombu.transport.redis import Channel

    # When its connection is lost, kombu would requeue the current message, which would be processed twice, or write it
    # with its prompts to a temporary file. The sweeper resends lost messages from the ledger.
    Channel.do_restore = False
    address = RedisAddress.parse(url)
    app = Celery("karma", broker=address.url, set_as_current=False)
    app.conf.update(
        broker_use_ssl=_for_kombu(address.tls) or False,
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
        broker_channel_error_retry=True,  # an error such as a full disk ends no consumer
        broker_transport_options={
            "ack_emulation": False,
            "priority_steps": list(PRIORITY_STEPS),
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


class Publisher:
    """Publishes messages, those of one call in one round trip to Redis."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def probe(self) -> None:
        """Check the connection before a message needs it.

        Raises:
            BrokerOutageError: it was dead; the next use opens a new one.
        """
        with outages(), self._app.producer_or_acquire() as producer:
            producer.channel.client.ping()

    def publish(self, messages: Sequence[Batch]) -> None:
        """Publish messages to their queues.

        Raises:
            BrokerOutageError: Redis is unavailable; some of the messages may have been published.
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
