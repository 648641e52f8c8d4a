"""The connections of a worker process, opened once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from karma.config.environment import Environment
from karma.queue.celery_app import Publisher
from karma.queue.claims import SILENCE_S, Claims
from karma.queue.redis import Incarnation, RedisClock, connect
from karma.queue.spent import SpentStreams
from karma.worker.exclusive import ExclusiveExecution
from karma.worker.retry import Shutdown

#: Seconds that a stopping process may finish its batches; then it releases the rest.
STOP_S = 10.0


@dataclass(frozen=True)
class Connections:
    """Redis and its incarnation, this process's claims, the shared clock, spent streams, and the shutdown request."""

    redis: Any
    publisher: Publisher
    claims: Claims
    clock: Callable[[], float]
    shutdown: Shutdown
    incarnation: Callable[[], str]
    exclusive: ExclusiveExecution = field(default_factory=ExclusiveExecution)
    spent: SpentStreams = field(default_factory=SpentStreams)

    @classmethod
    def open(cls, environment: Environment, silence_s: float = SILENCE_S) -> Connections:
        """The connections of this process.

        Raises:
            BrokerError: no Redis answers at the configured address.
        """
        url, keys = environment.broker_url(), environment.keyring()
        redis = connect(url)
        claims = Claims(redis, silence_s, keys)
        parts = Publisher(redis, keys), claims, RedisClock(redis), Shutdown(STOP_S), Incarnation(redis)
        return cls(redis, *parts, spent=SpentStreams(redis))
