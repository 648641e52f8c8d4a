"""How far a stream is: its prompts and its preferences, for `karma enqueue --until`."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, func, select

from karma.store.counting import one, prompts_by_state
from karma.store.schema import prompts, resolutions
from karma.store.streams import StreamEnd


class Progress(NamedTuple):
    """A stream's prompts and preferences."""

    preferences: int
    accepted: int  # prompts that wait
    in_flight: int
    ended: int

    def is_reached(self, end: StreamEnd) -> bool:
        """Whether nothing more is admitted, and all that was has ended."""
        if self.in_flight:
            return False
        capped = end.most_admitted is not None and self.ended >= end.most_admitted
        return self.preferences >= end.preferences or capped or not self.accepted


def progress_of(connection: Connection, stream: str) -> Progress:
    """Count a stream; it takes time with the number of its prompts, about 0.1 s for 100,000."""
    query = select(func.count()).select_from(resolutions).join(prompts, prompts.c.id == resolutions.c.prompt)
    preferences = one(connection, query.where(prompts.c.stream == stream, resolutions.c.outcome == "decisive"))
    states = {state: number for (_stream, state), number in prompts_by_state(connection, [stream]).items()}
    ended = states.get("done", 0) + states.get("dead", 0)
    accepted = states.get("accepted", 0)
    return Progress(preferences, accepted, sum(states.values()) - ended - accepted, ended)
