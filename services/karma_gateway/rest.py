"""Rests between the rounds of a gateway while the pipeline is full, so that prompts are admitted in groups."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

#: The part of all places that may become free during a rest; and the longest rest, seconds.
_FREE_SHARE = 1 / 16
_MOST_S = 0.2

#: Seconds over which the rate of admission is averaged.
_AVERAGED_S = 2.0


class Rest:
    """How long to rest before the next round.

    A round costs about as much for one prompt as for a hundred, and small groups make small batches for every stage
    after it. So while prompts wait for room, a gateway looks again when about a sixteenth of the places has become
    free: at the rate of the last admissions, and after 0.2 s at the latest. While nothing waits, there is no rest.

    Args:
        places: prompts, or open generations of one model, that the pipeline holds at once.
        clock: monotonic, seconds.
    """

    def __init__(self, places: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = places * _FREE_SHARE
        self._clock = clock
        self._admitted = 0.0  # prompts, the older the less they count
        self._counted_at = clock()

    def count(self, admitted: int) -> None:
        """Count the prompts of a round."""
        now = self._clock()
        self._admitted = self._admitted * math.exp((self._counted_at - now) / _AVERAGED_S) + admitted
        self._counted_at = now

    @property
    def seconds(self) -> float:
        """The length of a rest."""
        rate = self._admitted / _AVERAGED_S
        return min(_MOST_S, self._most / rate) if rate else _MOST_S
