"""Changes from the page: requeue, pause, resume."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from karma.queue.redis import wake
from karma.store import Store
from karma.store.requeue import bring_back, requeue_dead, requeue_unanswered, requeue_unscored
from karma.store.streams import pause, resume

_REQUEUES = {"dead": requeue_dead, "unanswered": requeue_unanswered, "unscored": requeue_unscored}

Stream = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00]*$")] | None


class Control:
    """Changes the store, and wakes the gateway."""

    class Requeue(BaseModel):
        """What to requeue, and of which stream (None: of all)."""

        model_config = ConfigDict(extra="forbid")

        what: Literal["dead", "unanswered", "unscored"]
        stream: Stream = None

    class Pause(BaseModel):
        """Which stream (None: all)."""

        model_config = ConfigDict(extra="forbid")

        stream: Stream = None

    def __init__(self, store: Store, redis: Any | None, changed: Callable[[], None]) -> None:
        self._store = store
        self._redis = redis
        self._changed = changed

    def requeue(self, request: Requeue) -> dict[str, Any]:
        """Requeue everything of a kind."""
        number = sum(bring_back(self._store, _REQUEUES[request.what], request.stream))
        self._notify()
        return {"requeued": number}

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
