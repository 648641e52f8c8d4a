"""An event loop in a thread of its own, which serves all worker threads of the process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

#: Seconds that tasks may take to be cancelled, and the thread to end.
_CLOSE_S = 10.0


class LoopThread:
    """Runs an event loop until it is closed."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Cancel all tasks, so that no thread waits for their results; run `last`, and end the thread."""
        asyncio.run_coroutine_threadsafe(self._end(last), self.loop).result(_CLOSE_S)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_CLOSE_S)
        self.loop.close()

    async def _end(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while others := asyncio.all_tasks() - {asyncio.current_task()}:  # a task that ends may begin another
            for other in others:
                other.cancel()
            await asyncio.gather(*others, return_exceptions=True)
        await last()
