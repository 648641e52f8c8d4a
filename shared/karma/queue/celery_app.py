"""The queues: Celery's application, their names, publishing to them, and what waits in them.

They are Celery's lists: `generate.<model>`, `score`, `match`, `judge.<judge>`, `learn`; a priority other than the
lowest has a list of its own, as kombu names it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from karma.messages import (
    Batch,
    GenerateBatch,
    JudgeBatch,
    LearnBatch,
    MatchBatch,
    ScoreBatch,
    encode,
)
from karma.queue.backlog import PRIORITY_STEPS
from karma.queue.redis import ANSWER_S, outages


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
            "priority_steps": list(PRIORITY_STEPS),
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
