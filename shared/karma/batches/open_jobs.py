"""The batch jobs that this process follows, for its heartbeat, from where they reach status, page and metrics."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta

_Count = Annotated[int, Meta(ge=0, lt=2**53)]


class OpenJobs(msgspec.Struct, frozen=True):
    """The open jobs of a model or judge."""

    name: Annotated[str, Meta(max_length=300)]
    jobs: _Count = 0  # at the provider, not yet ended
    requests: _Count = 0  # that wait for them
    gathered: _Count = 0  # requests that are in no job yet


_lock = threading.Lock()
_found: dict[str, OpenJobs] = {}


def note(found: OpenJobs) -> None:
    """Replace what is known of a model or judge."""
    with _lock:
        if found.jobs or found.requests or found.gathered:
            _found[found.name] = found
        else:
            _found.pop(found.name, None)


def noted() -> tuple[OpenJobs, ...]:
    """What this process follows now."""
    with _lock:
        return tuple(_found.values())


def summed(found: Iterable[OpenJobs]) -> dict[str, OpenJobs]:
    """Name → the sums over all workers. A job that two workers follow counts for each."""
    sums: dict[str, OpenJobs] = {}
    for one in found:
        other = sums.get(one.name, OpenJobs(one.name))
        sums[one.name] = OpenJobs(
            one.name, one.jobs + other.jobs, one.requests + other.requests, one.gathered + other.gathered
        )
    return sums
