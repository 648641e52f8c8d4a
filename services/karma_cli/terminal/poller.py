"""Looking at the stream again and again, with whatever of it can be reached."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from karma.config.environment import Environment
from karma.config.pool import Pool
from karma.errors import BrokerError, SettingsError, StoreOutageError
from karma.queue.redis import connect, outages
from karma.store import Store
from karma_cli.options import open_store
from karma_monitor.live_status import LiveStatus


@dataclass(frozen=True)
class Look:
    """What one look showed."""

    picture: dict[str, Any] | None = None  # the live picture; None where none could be taken yet
    taken_at: float = 0.0  # when it was taken, of `time.monotonic`
    fresh: bool = False  # it is this look's; otherwise an earlier one's
    away: str | None = None  # what cannot be reached now, as a sentence

    @property
    def age_s(self) -> float:
        """How old the picture is."""
        return time.monotonic() - self.taken_at

    def data(self) -> dict[str, Any]:
        """The look for machines: the live picture and `away`; `away` alone where no picture could be taken."""
        seen = self.picture if self.fresh and self.picture else {"version": 1, "at": time.time()}
        return {**seen, "away": self.away}


class Lookout:
    """The board of a stream whose store and Redis may come and go. Not for several threads at once."""

    def __init__(self, found: Environment, pool: Pool) -> None:
        self._found = found
        self._pool = pool
        self._store: Store | None = None
        self._board: LiveStatus | None = None
        self._redis: Any | None = None  # the board's
        self._redis_url: str | None = None
        self._newest = Look()

    def look(self) -> Look:
        """Look now. Without Redis, queues and workers are empty; without the store, the picture is the one before.

        Raises:
            StoreError: the store was written by another version of KARMA, or can never be opened.
        """
        try:
            if self._store is None:
                self._store = open_store(self._found)
            board, away = self._current(self._store)
            self._newest = Look(board.look(), time.monotonic(), True, away)
        except StoreOutageError as cause:
            self._newest = replace(self._newest, fresh=False, away=str(cause))
        return self._newest

    def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            self._store.close()

    def _current(self, store: Store) -> tuple[LiveStatus, str | None]:
        """The board with the Redis that is in use now, and what is wrong with that Redis.

        A board lives on while Redis is away and comes back at the same place.
        """
        away = None
        try:
            url = self._found.broker_url()
            if url != self._redis_url:
                self._redis, self._redis_url, self._board = connect(url), url, None
            elif self._redis is not None:
                with outages():
                    self._redis.ping()
        except (BrokerError, SettingsError, OSError) as cause:
            away = str(cause)
        if self._board is None:
            self._board = LiveStatus(store, self._redis, self._pool)
        return self._board, away
