"""Figures that are read repeatedly, for at most a share of the time."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")

MOST_WAIT_S = 15.0


class Pace:
    """When an action is due: at most every `every_s` seconds, and for at most a share of the time.

    Elapsed time counts, not this process's CPU time: a database works in another process.
    """

    def __init__(self, most_share: float, every_s: float = 0.0, most_wait_s: float = math.inf) -> None:
        self._most_share = most_share
        self._every_s = every_s
        self._most_wait_s = most_wait_s
        self._due_at = float("-inf")

    @property
    def is_due(self) -> bool:
        """Whether the action is due."""
        return time.monotonic() >= self._due_at

    def finished(self, took_s: float) -> None:
        """The action was run and took `took_s` seconds."""
        self._due_at = time.monotonic() + max(self._every_s - took_s, min(took_s / self._most_share, self._most_wait_s))

    def expire(self) -> None:
        """Make the action due now."""
        self._due_at = float("-inf")


class Paced(Generic[T]):
    """A figure that is read when it is due, and cached in between.

    A slow read, for example in a process that was frozen, delays the next by `MOST_WAIT_S` at most.
    """

    def __init__(self, read: Callable[[], T], most_share: float, every_s: float = 0.0) -> None:
        self._read = read
        self._pace = Pace(most_share, every_s, MOST_WAIT_S)
        self._last: list[T] = []  # empty before the first read: a figure may be None

    def expire(self) -> None:
        """Read the figure again at the next call."""
        self._pace.expire()

    def value(self) -> T:
        """The figure."""
        if not self._last or self._pace.is_due:
            started = time.monotonic()
            self._last = [self._read()]
            self._pace.finished(time.monotonic() - started)
        return self._last[0]


class Background(Generic[T]):
    """A figure that is slow to read: a thread reads it, and only the first caller waits."""

    def __init__(self, read: Callable[[], T], most_share: float, every_s: float = 0.0) -> None:
        self._read = read
        self._pace = Pace(most_share, every_s)
        self._lock = threading.Lock()
        self._under_way: Future[T] | None = None
        self._last: list[T] = []

    def expire(self) -> None:
        """Read the figure again at the next call."""
        self._pace.expire()

    def value(self) -> T:
        """The figure; a new object each time it was read.

        Raises:
            Exception: the error of the last read, which is repeated when it is due.
        """
        with self._lock:
            if self._under_way is None and (not self._last or self._pace.is_due):
                self._under_way = Future()
                threading.Thread(target=self._run, args=(self._under_way,), name="figures", daemon=True).start()
            if self._under_way is not None and (self._under_way.done() or not self._last):
                under_way, self._under_way = self._under_way, None
                self._last = [under_way.result()]
            return self._last[0]

    def _run(self, future: Future[T]) -> None:
        started = time.monotonic()
        try:
            found = self._read()
        except BaseException as cause:
            future.set_exception(cause)
        else:
            future.set_result(found)
        finally:
            self._pace.finished(time.monotonic() - started)
