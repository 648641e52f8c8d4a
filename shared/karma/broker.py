"""Redis: the conveyor. Celery's application, the queues, and publishing.

Every key that KARMA itself keeps in Redis:

| key | type | what |
| --- | --- | --- |
| `karma:epoch` | string | the life of this Redis: set when missing; its absence means that everything was lost |
| `karma:claims` | sorted set | claim → last sign of life (`karma.claims`) |
| `karma:done` | sorted set | claim → when its work ended, or was taken away; 15 minutes |
| `karma:kept` | hash | claim on results → the message in hand, until it is recorded |
| `karma:fates` | hash | claim that its holder let go → why |
| `karma:workers` | hash | worker id → what it is and its last sign of life, JSON (`karma.registry`) |
| `karma:wake` | list | at most one entry: there is something for a gateway to do |
| `karma:full` | string | prompts wait for room in the pipeline: whoever makes room wakes a gateway; 5 s |

The queues are Celery's lists: `generate.<model>`, `score`, `match`, `judge.<judge>`, `learn`; a priority other than
the lowest has a list of its own, as kombu names it.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from karma.errors import BrokerError, BrokerOutageError, MessageError
from karma.messages import Batch, GenerateBatch, JudgeBatch, LearnBatch, MatchBatch, ScoreBatch, decode, encode

EPOCH_KEY = "karma:epoch"
CLAIMS_KEY = "karma:claims"
TOMBSTONES_KEY = "karma:done"
KEPT_KEY = "karma:kept"
FATES_KEY = "karma:fates"
WORKERS_KEY = "karma:workers"
WAKE_KEY = "karma:wake"
FULL_KEY = "karma:full"

_FULL_S = 5

#: Seconds that Redis may take to answer. Without it a connection that is half open would hold a thread for ever.
_ANSWER_S = 2.0

#: Above this share of Redis' `maxmemory` no prompt is admitted: the rest is for results, which must find a place.
_FULL_SHARE = 0.7

#: How Redis begins its refusal of a command that it would take at another time.
_REFUSES_NOW = ("MISCONF", "OOM", "LOADING", "MASTERDOWN", "NOREPLICAS", "READONLY", "BUSY", "TRYAGAIN", "CLUSTERDOWN")

#: kombu serves 0 first. KARMA's priorities are 0 to 9, higher first, kept apart in these four steps.
_PRIORITY_STEPS = (0, 3, 6, 9)
_SEPARATOR = "\x06\x16"

STAGES = ("generate", "score", "match", "judge", "learn")


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
            "socket_timeout": _ANSWER_S,
            "health_check_interval": 2,  # a half-open consumer is found within three times this
        },
    )
    return app


@contextmanager
def outages() -> Iterator[None]:
    """Turn what Redis' clients raise when Redis is away, loading or full into one error that can be waited out.

    Raises:
        BrokerOutageError: Redis cannot do it now.
    """
    try:
        yield
    except Exception as cause:
        said = _outage_of(cause)
        if said is None:
            raise
        raise BrokerOutageError(said) from cause


def _outage_of(error: BaseException | None) -> str | None:
    """What an error says about Redis being away or refusing for now; None where it says something else."""
    import kombu.exceptions
    import redis

    match error:
        case kombu.exceptions.BatchPublishError():  # some of it may be there all the same
            return _outage_of(error.__cause__)
        case redis.ConnectionError() | redis.TimeoutError() | kombu.exceptions.OperationalError() | OSError():
            return f"Redis is away: {error or type(error).__name__}"
        case redis.ResponseError():
            # A pipeline puts the command, and with it the beginning of a message, before what Redis said.
            said = str(error).rpartition(" of pipeline caused error: ")[2]
            if isinstance(error, redis.exceptions.OutOfMemoryError) or said.startswith(_REFUSES_NOW):
                return f"Redis refuses for now: {said}"
    return None


class RedisClock:
    """Redis' own clock in seconds since 1970, carried on by this process's monotonic one.

    All that stamps and compares moments across processes uses it, so that a machine whose clock is wrong neither
    hurries nor delays anything.
    """

    _SYNC_EVERY_S = 30.0
    _SLOW_S = 1.0  # an answer that took longer says too little

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._offset = time.time() - time.monotonic()
        self._synced_at = float("-inf")

    def __call__(self) -> float:
        """The time now. Where Redis is away, what it said before goes on."""
        if time.monotonic() - self._synced_at > self._SYNC_EVERY_S:
            with suppress(BrokerOutageError), outages():
                self._sync()
        return time.monotonic() + self._offset

    def _sync(self) -> None:
        before = time.monotonic()
        seconds, micros = self._redis.time()
        after = time.monotonic()
        if self._synced_at == float("-inf") or after - before < self._SLOW_S:
            self._offset = seconds + micros / 1e6 - (before + after) / 2
            self._synced_at = after


def connect(url: str) -> Any:
    """A Redis client for KARMA's own keys.

    Raises:
        BrokerError: nothing answers there.
    """
    import redis

    client = redis.Redis.from_url(url, socket_connect_timeout=5, socket_timeout=_ANSWER_S, health_check_interval=30)
    try:
        client.ping()
    except redis.RedisError as cause:
        raise BrokerError(f"no Redis answers at {_without_password(url)}: {cause}. Is `karma up` running?") from cause
    return client


def current_epoch(redis: Any) -> str:
    """The life of this Redis, begun here where there is none: a random word and the server's run id.

    The word vanishes when Redis is emptied or restarted without its file; the run id changes with every restart.
    """
    with outages():
        raw = redis.get(EPOCH_KEY)
    return raw.decode() if raw is not None else renew_epoch(redis)


def renew_epoch(redis: Any) -> str:
    """The epoch, begun anew where the server was restarted since it was written."""
    with outages():
        run_id = redis.info("server")["run_id"]
        raw = redis.get(EPOCH_KEY)
        if raw is None:
            redis.set(EPOCH_KEY, f"{secrets.token_hex(4)}:{run_id}", nx=True)
        elif not raw.decode().endswith(run_id):
            redis.set(EPOCH_KEY, f"{secrets.token_hex(4)}:{run_id}")
        raw = redis.get(EPOCH_KEY)
    return raw.decode() if raw is not None else ""


def has_room(redis: Any) -> bool:
    """Whether Redis has memory for more work, besides the results of what it carries already."""
    with outages():
        memory = redis.info("memory")
    limit = memory.get("maxmemory", 0)
    return not limit or memory["used_memory"] < _FULL_SHARE * limit


def wake(redis: Any) -> None:
    """Tell a gateway that there is something to do; many calls are one. Where Redis is away, it looks by itself."""
    with suppress(BrokerOutageError), outages():
        pipe = redis.pipeline(transaction=False)
        pipe.lpush(WAKE_KEY, 1)
        pipe.ltrim(WAKE_KEY, 0, 0)
        pipe.execute()


def say_full(redis: Any) -> None:
    """Ask to be woken when there is room: prompts wait that could not be admitted."""
    with suppress(BrokerOutageError), outages():
        redis.set(FULL_KEY, 1, ex=_FULL_S)


def say_room(redis: Any) -> None:
    """Wake a gateway if prompts wait for room; waking for nothing would make who is woken for what a pattern."""
    with suppress(BrokerOutageError), outages():
        if redis.exists(FULL_KEY):
            wake(redis)


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


def _without_password(url: str) -> str:
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or 6379}{parts.path}"
