"""Prompts at a steady rate, taken at the front door in this process."""

from __future__ import annotations

import json
import threading
import time

from karma.errors import OutageError
from karma.store import Store
from karma_gateway.ingest import Line, take


class Feed:
    """Takes `rate` prompts a second at the door until it has taken `most`; what is refused is tried again."""

    def __init__(self, database_url: str, rate: float, most: int = 1_000_000) -> None:
        self._url, self._rate, self._most = database_url, rate, most
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self.accepted = 0
        self.refused = 0  # takes that an outage refused

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Feed no more; what was begun is finished."""
        self._stop.set()
        self._thread.join(120)
        assert not self._thread.is_alive()

    def wait(self) -> None:
        """Wait until all are taken."""
        self._thread.join()

    def _run(self) -> None:
        store = Store(self._url, durability="full")
        started = time.monotonic()
        taken = 0
        while taken < self._most and not self._stop.wait(0.1):
            due = min(self._most, int((time.monotonic() - started) * self._rate)) - taken
            if due <= 0:
                continue
            lines = [
                Line("feed", n, json.dumps({"id": f"f{n}", "prompt": f"Say f{n}."}).encode())
                for n in range(taken, taken + due)
            ]
            try:
                receipt = take(store, "default", lines, max_bytes=1 << 20)
            except OutageError:
                self.refused += 1
                continue
            # A commit whose answer was lost happened all the same: what is then present was accepted.
            self.accepted += receipt.accepted + receipt.present
            taken += due
        store.close()
