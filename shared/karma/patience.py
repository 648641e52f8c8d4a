"""Patience: waiting for a server that is away, instead of losing what is in hand."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from karma.errors import HandedBackError, OutageError

log = logging.getLogger(__name__)

_FIRST_WAIT_S = 0.1
_MOST_WAIT_S = 1.0

_T = TypeVar("_T")


class Stopping:
    """Whether this process was told to stop, and how long it may still finish what is in hand."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._told = threading.Event()
        self._told_at = 0.0

    def tell(self) -> None:
        """The process is to stop; a second time changes nothing."""
        if not self._told.is_set():
            self._told_at = time.monotonic()
            self._told.set()

    @property
    def told(self) -> bool:
        """Whether nothing new may be begun."""
        return self._told.is_set()

    @property
    def overdue(self) -> bool:
        """Whether the time to finish is over."""
        return self._told.is_set() and time.monotonic() - self._told_at > self._limit_s

    def wait(self, seconds: float) -> None:
        """Wait; only a moment once the process is told to stop."""
        if self._told.is_set():
            time.sleep(_FIRST_WAIT_S)
        else:
            self._told.wait(seconds)


def patiently(action: Callable[[], _T], what: str, stopping: Stopping) -> _T:
    """Do it, again and again while a server is away.

    Raises:
        HandedBackError: the process must end now and the server is still away.
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
            if stopping.overdue:
                raise HandedBackError(f"{what}: {cause}") from cause
            stopping.wait(wait_s)
            wait_s = min(_MOST_WAIT_S, wait_s * 2)
        else:
            if away_since is not None:
                log.warning("%s: works again after %.1f s", what, time.monotonic() - away_since)
            return result
