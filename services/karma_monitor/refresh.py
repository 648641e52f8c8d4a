"""Figures that are read again and again, but never for more than a share of the time."""

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
    """When something is due again: at most every so many seconds, and never for more than a share of the time.

    It is the elapsed time that counts, and not this process's: a database works elsewhere.
    """

    def __init__(self, most_share: float, every_s: float = 0.0, most_wait_s: float = math.inf) -> None:
        self._most_share = most_share
        self._every_s = every_s
        self._most_wait_s = most_wait_s
        self._due_at = float("-inf")

    @property
    def is_due(self) -> bool:
        """Whether it is time."""
        return time.monotonic() >= self._due_at

    def took(self, seconds: float) -> None:
        """It was done and took so long."""
        self._due_at = time.monotonic() + max(
            self._every_s - seconds, min(seconds / self._most_share, self._most_wait_s)
        )

    def hurry(self) -> None:
        """Something was changed on purpose: it is due now."""
        self._due_at = float("-inf")


class Paced(Generic[T]):
    """A figure that is read again when it is due; in between, the last one is given.

    One read that took long, as where the process was frozen in it, puts the next off for `MOST_WAIT_S` at most.
    """

    def __init__(self, read: Callable[[], T], most_share: float, every_s: float = 0.0) -> None:
        self._read = read
        self._pace = Pace(most_share, every_s, MOST_WAIT_S)
        self._last: list[T] = []  # one or none: what is read may be None

    def hurry(self) -> None:
        """It is due now."""
        self._pace.hurry()

    def value(self) -> T:
        """The figure."""
        if not self._last or self._pace.is_due:
            started = time.monotonic()
            self._last = [self._read()]
            self._pace.took(time.monotonic() - started)
        return self._last[0]


class Background(Generic[T]):
    """A figure that takes so long that nobody waits for it: it is read in a thread, the first time excepted."""

    def __init__(self, read: Callable[[], T], most_share: float, every_s: float = 0.0) -> None:
        self._read = read
        self._pace = Pace(most_share, every_s)
        self._lock = threading.Lock()
        self._under_way: Future[T] | None = None
        self._last: list[T] = []

    def hurry(self) -> None:
        """It is due now."""
        self._pace.hurry()

    def value(self) -> T:
        """The figure; another object than at the last call where it was read anew.

        Raises:
            Exception: what reading it raised; it is tried again when it is due.
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
            self._pace.took(time.monotonic() - started)
