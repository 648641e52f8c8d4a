"""The lease on the batch in hand: whether paid work may still be begun for it.

A worker that was frozen, or cut off from Redis, cannot know whether its batch was given to another. So a claim is a
lease: calls are begun only while the last sign of life is fresh, results of calls that were made are always brought.
A stage sets the lease around its work; whoever is about to begin a call, however deep below, asks it here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

from karma.errors import ReleasedError

#: `go`: begin. `wait`: it cannot be known now. `stop`: the batch is another's, or the process is to stop.
LeaseState = Literal["go", "wait", "stop"]
Lease = Callable[[], LeaseState]

_ASK_EVERY_S = 0.1


def _always() -> LeaseState:
    return "go"


_current: ContextVar[Lease] = ContextVar("lease", default=_always)


@contextmanager
def held(lease: Lease) -> Iterator[None]:
    """Work within the block is done under this lease."""
    token = _current.set(lease)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Lease:
    """The lease of the batch in hand; always `go` where there is none."""
    return _current.get()


def require() -> None:
    """Return once more work may be begun.

    Raises:
        ReleasedError: none may.
    """
    lease = current()
    while (standing := lease()) != "go":
        if standing == "stop":
            raise ReleasedError("the rest of the batch is handed back")
        time.sleep(_ASK_EVERY_S)
