"""Exclusive execution: the batches of a process run together, or one batch runs alone.

A crash of a process fails all batches that it is processing. A batch on its last attempt runs alone, so that only its
own items can fail it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ExclusiveExecution:
    """A lock that many batches share, or one batch holds exclusively."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = 0
        self._alone = False
        self._waiting_alone = 0

    @contextmanager
    def entered(self, alone: bool) -> Iterator[None]:
        """Run the block together with others or, if `alone`, exclusively; waits until that is possible."""
        with self._changed:
            if alone:
                self._waiting_alone += 1
                self._changed.wait_for(lambda: not self._running)
                self._waiting_alone -= 1
            else:
                self._changed.wait_for(lambda: not self._alone and not self._waiting_alone)
            self._running += 1
            self._alone = alone
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._alone = False
                self._changed.notify_all()
