"""Changes from the page: requeue, pause, resume."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from karma.queue.redis import wake
from karma.store import Store
from karma.store.requeue import What, Withdraw, requeue
from karma.store.streams import pause, resume

Stream = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00]*$")] | None


class Control:
    """Changes the store, and wakes the gateway.

    Args:
        store: to change.
        redis: of the gateway; None while it is unknown.
        changed: is called after each change.
        withdraw: takes pairs that are judged again out of the competency counts.
    """

    class Requeue(BaseModel):
        """What to requeue, and of which stream (None: of all)."""

        model_config = ConfigDict(extra="forbid")

        what: What
        stream: Stream = None

    class Pause(BaseModel):
        """Which stream (None: all)."""

        model_config = ConfigDict(extra="forbid")

        stream: Stream = None

    def __init__(self, store: Store, redis: Any | None, changed: Callable[[], None], withdraw: Withdraw) -> None:
        self._store = store
        self._redis = redis
        self._changed = changed
        self._withdraw = withdraw

    def requeue(self, request: Requeue) -> dict[str, Any]:
        """Requeue dead prompts or failed calls, as `karma requeue` does."""
        counts = requeue(self._store, request.what, self._withdraw, request.stream)
        self._notify()
        return {"requeued": sum(counts.values()), **counts}

    def pause(self, request: Pause) -> dict[str, Any]:
        """Admit no more prompts."""
        with self._store.transaction() as transaction:
            changed = pause(transaction.ledger.connection, request.stream, transaction.ledger.now)
        self._notify()
        return {"paused": True, "changed": changed}

    def resume(self, request: Pause) -> dict[str, Any]:
        """Admit prompts again."""
        with self._store.transaction() as transaction:
            changed = resume(transaction.ledger.connection, request.stream)
        self._notify()
        return {"paused": False, "changed": changed}

    def _notify(self) -> None:
        self._changed()
        if self._redis is not None:
            wake(self._redis)
