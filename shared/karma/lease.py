"""The lease on the current batch: whether calls may still begin for it.

A worker that was frozen, or lost its connection to Redis, cannot know whether another worker has its batch. So a claim
is a lease: calls begin only while the last heartbeat is recent. Results of finished calls are always published. A stage
sets the lease around its work; code that is about to make a call checks it here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

from karma.errors import ReleasedError

#: `go`: calls may begin. `wait`: unknown. `stop`: another worker has the batch, or the process is shutting down.
LeaseState = Literal["go", "wait", "stop"]
Lease = Callable[[], LeaseState]

_POLL_S = 0.1


def _always() -> LeaseState:
    return "go"


_current: ContextVar[Lease] = ContextVar("lease", default=_always)


@contextmanager
def held(lease: Lease) -> Iterator[None]:
    """Set the lease for the block."""
    token = _current.set(lease)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Lease:
    """The lease on the current batch; always `go` without a batch."""
    return _current.get()


def require() -> None:
    """Wait until calls may begin.

    Raises:
        ReleasedError: no more calls may begin.
    """
    lease = current()
    while (state := lease()) != "go":
        if state == "stop":
            raise ReleasedError("the rest of the batch is released")
        time.sleep(_POLL_S)
