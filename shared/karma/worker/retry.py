"""Patience: waiting for a server that is away, instead of losing what is in hand."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from karma.errors import OutageError, ReleasedError

log = logging.getLogger(__name__)

_FIRST_WAIT_S = 0.1
_MOST_WAIT_S = 1.0

_T = TypeVar("_T")


class Shutdown:
    """Whether this process was told to stop, and how long it may still finish what is in hand."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._requested = threading.Event()
        self._requested_at = 0.0

    def request(self) -> None:
        """The process is to stop; a second time changes nothing."""
        if not self._requested.is_set():
            self._requested_at = time.monotonic()
            self._requested.set()

    @property
    def requested(self) -> bool:
        """Whether nothing new may be begun."""
        return self._requested.is_set()

    @property
    def overdue(self) -> bool:
        """Whether the time to finish is over."""
        return self._requested.is_set() and time.monotonic() - self._requested_at > self._limit_s

    def wait(self, seconds: float) -> None:
        """Wait; only a moment once the process is told to stop."""
        if self._requested.is_set():
            time.sleep(_FIRST_WAIT_S)
        else:
            self._requested.wait(seconds)


def retry_on_outage(action: Callable[[], _T], what: str, shutdown: Shutdown) -> _T:
    """Do it, again and again while a server is away.

    Raises:
        ReleasedError: the process must end now and the server is still away.
        Exception: whatever else the action raises.
    """
    wait_s = _FIRST_WAIT_S
    away_since: float | None = None
    while True:
        try:
            result = action()
        except OutageError as cause:
            if away_since is None:
                away_since = time.monotonic()
                log.warning("%s: %s; trying again until it works", what, cause)
            if shutdown.overdue:
                raise ReleasedError(f"{what}: {cause}") from cause
            shutdown.wait(wait_s)
            wait_s = min(_MOST_WAIT_S, wait_s * 2)
        else:
            if away_since is not None:
                log.warning("%s: works again after %.1f s", what, time.monotonic() - away_since)
            return result
