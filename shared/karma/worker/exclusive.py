"""ExclusiveExecution: what one process has in hand at once. Whatever kills a process kills all of it.

So work that may not be tried again once more is done alone: only what it meets by itself can end it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ExclusiveExecution:
    """Who is at work in this process: many together, or one alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._alone = False
        self._wish_to_be_alone = 0

    @contextmanager
    def entered(self, alone: bool) -> Iterator[None]:
        """Work within the block is done together with others, or `alone`; waits until it can be."""
        with self._changed:
            if alone:
                self._wish_to_be_alone += 1
                self._changed.wait_for(lambda: not self._inside)
                self._wish_to_be_alone -= 1
            else:
                self._changed.wait_for(lambda: not self._alone and not self._wish_to_be_alone)
            self._inside += 1
            self._alone = alone
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._alone = False
                self._changed.notify_all()
