"""Slots: how many batches of each queue a process has in hand, so that no queue occupies all its threads.

A worker of remote models shares its threads among their queues. A queue that has all its slots in use is left out of
the next BRPOP (`karma.queue.guarded_transport`), so a model that answers slowly, or never, holds its own slots only. A
process without a limit, as of a local model, counts and leaves out nothing.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable


class Slots:
    """The batches in hand by queue. `on_room` is called from any thread when a queue that was full has room again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._most: int | None = None
        self._delivered: Counter[str] = Counter()  # handed to Celery, not yet started
        self._running: Counter[str] = Counter()
        self.on_room: Callable[[], object] = lambda: None

    def limit(self, most: int | None) -> None:
        """Set how many batches of a queue may be in hand at once; None: any number."""
        self._most = most

    def is_full(self, queue: str) -> bool:
        """Whether all slots of a queue are in use."""
        most = self._most
        return most is not None and self._delivered[queue] + self._running[queue] >= most

    def deliver(self, queue: str) -> None:
        """Count a batch that is handed to Celery."""
        with self._lock:
            self._delivered[queue] += 1

    def forget_delivered(self, queue: str) -> None:
        """Count no batch as delivered: the consumer starts anew, and what it had not started may never start."""
        with self._lock:
            self._delivered[queue] = 0

    def start(self, queue: str) -> None:
        """Count a batch whose processing starts."""
        with self._lock:
            self._delivered[queue] = max(0, self._delivered[queue] - 1)
            self._running[queue] += 1

    def end(self, queue: str) -> None:
        """Count a batch whose processing ended, however."""
        with self._lock:
            was_full = self.is_full(queue)
            self._running[queue] -= 1
            has_room = not self.is_full(queue)
        if was_full and has_room:
            self.on_room()


#: The slots of this process.
SLOTS = Slots()
