"""Reads the live status again and again, also while the store or Redis is unavailable."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from karma.config.environment import Environment
from karma.config.pool import Pool
from karma.errors import BrokerError, SettingsError, StoreOutageError
from karma.queue.redis import connect, outages
from karma.store import Store
from karma_cli.options import open_store_to_read
from karma_monitor.live_status import LiveStatus


@dataclass(frozen=True)
class Update:
    """The result of one poll."""

    status: dict[str, Any] | None = None  # the live status; None until the first read
    taken_at: float = 0.0  # when the status was read, of `time.monotonic`
    fresh: bool = False  # whether this poll read the status, or an earlier one
    unavailable: str | None = None  # what cannot be reached, as a sentence

    @property
    def age_s(self) -> float:
        """The age of the status."""
        return time.monotonic() - self.taken_at

    def data(self) -> dict[str, Any]:
        """The update as JSON data: the live status and `away`; without a fresh status only `away`."""
        status = self.status if self.fresh and self.status else {"version": 1, "at": time.time()}
        return {**status, "away": self.unavailable}


class Poller:
    """Polls the live status. For one thread at a time."""

    def __init__(self, env: Environment, pool: Pool) -> None:
        self._env = env
        self._pool = pool
        self._store: Store | None = None
        self._live: LiveStatus | None = None
        self._redis: Any | None = None  # used by `_live`
        self._redis_url: str | None = None
        self._newest = Update()

    def poll(self) -> Update:
        """Read the live status. Without Redis, queues and workers are empty; without the store, the status is the last.

        Raises:
            StoreError: another version of KARMA wrote the store, or it can never be opened.
        """
        try:
            if self._store is None:
                self._store = open_store_to_read(self._env, required=True)
            unavailable = self._connect_redis()
            if self._live is None:
                self._live = LiveStatus(self._store, self._redis, self._pool)
            self._newest = Update(self._live.read(), time.monotonic(), True, unavailable)
        except StoreOutageError as cause:
            self._newest = replace(self._newest, fresh=False, unavailable=str(cause))
        return self._newest

    def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            self._store.close()

    def _connect_redis(self) -> str | None:
        """Connect to the Redis that is in use now; returns why it is unavailable.

        The live status is kept while Redis is unavailable and recovers at the same address.
        """
        try:
            url = self._env.broker_url()
            if url != self._redis_url:
                self._redis, self._redis_url, self._live = connect(url), url, None
            elif self._redis is not None:
                with outages():
                    self._redis.ping()
        except (BrokerError, SettingsError, OSError) as cause:
            return str(cause)
        return None
