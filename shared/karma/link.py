"""A worker process's link to the others: everything that it needs of Redis, opened once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from karma.broker import RedisClock, connect
from karma.claims import SILENCE_S, Claims
from karma.company import Company
from karma.patience import Stopping
from karma.queues import Publisher, create_app
from karma.settings import Environment

#: Seconds that a process which is told to stop may still work on what is in hand; then it hands it back.
STOP_S = 10.0


@dataclass(frozen=True)
class Link:
    """Celery's application, Redis, what is claimed there, the clock that all share, and whether to stop."""

    app: Any
    redis: Any
    publisher: Publisher
    claims: Claims
    clock: Callable[[], float]
    stopping: Stopping
    company: Company = field(default_factory=Company)

    @classmethod
    def open(cls, environment: Environment, silence_s: float = SILENCE_S) -> Link:
        """The link of this process.

        Raises:
            BrokerError: nothing answers at Redis' address.
        """
        url = environment.broker_url()
        redis, app = connect(url), create_app(url)
        return cls(app, redis, Publisher(app), Claims(redis, silence_s), RedisClock(redis), Stopping(STOP_S))
