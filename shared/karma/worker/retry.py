"""Retries during an outage: a process keeps its work until the server recovers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from karma.errors import OutageError, ReleasedError, SchemaError

log = logging.getLogger(__name__)

_FIRST_WAIT_S = 0.1
_MAX_WAIT_S = 1.0

_T = TypeVar("_T")


class Shutdown:
    """The request to stop this process, with the exit status and the time limit to finish its work."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._requested = threading.Event()
        self._requested_at = 0.0
        self.exit_code = 0

    def request(self, exit_code: int = 0) -> None:
        """Request the end of the process; a second request changes nothing."""
        if not self._requested.is_set():
            self._requested_at = time.monotonic()
            self.exit_code = exit_code
            self._requested.set()

    @property
    def requested(self) -> bool:
        """Whether a stop was requested: nothing new may start."""
        return self._requested.is_set()

    @property
    def overdue(self) -> bool:
        """Whether the time limit to finish is exceeded."""
        return self._requested.is_set() and time.monotonic() - self._requested_at > self._limit_s

    def wait(self, seconds: float) -> None:
        """Wait; only for a moment once a stop was requested."""
        if self._requested.is_set():
            time.sleep(_FIRST_WAIT_S)
        else:
            self._requested.wait(seconds)


def retry_on_outage(action: Callable[[], _T], what: str, shutdown: Shutdown) -> _T:
    """The action's result. It is retried with backoff while a server is unavailable or the store's schema is wrong.

    Each kind of error is logged once.

    Raises:
        ReleasedError: the process must end now and the action still fails.
        Exception: whatever else the action raises.
    """
    wait_s = _FIRST_WAIT_S
    failing_since: float | None = None
    logged: set[type[OutageError]] = set()
    while True:
        try:
            result = action()
        except OutageError as cause:
            if failing_since is None:
                failing_since = time.monotonic()
            if type(cause) not in logged:
                logged.add(type(cause))
                log.warning("%s: %s; retrying until it works", what, cause)
            # A schema is not repaired within the seconds that a process has to stop.
            if shutdown.overdue or (shutdown.requested and isinstance(cause, SchemaError)):
                raise ReleasedError(f"{what}: {cause}") from cause
            shutdown.wait(wait_s)
            wait_s = min(_MAX_WAIT_S, wait_s * 2)
        else:
            if failing_since is not None:
                log.warning("%s: recovered after %.1f s", what, time.monotonic() - failing_since)
            return result
