"""`karma enqueue --until`: the admission of a stream stops once it has enough preferences."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from karma.store import Transaction
from karma.store.streams import StreamEnd, stream_ends
from karma.store.until import Progress, progress_of

#: Most share of the time that counting may take; and seconds between two counts of a stream at the least.
_SHARE, _EVERY_S = 0.05, 0.1


@dataclass
class _Counted:
    """A stream as it was counted last, and the prompts that were admitted since."""

    progress: Progress
    until_s: float  # monotonic time until which the count is used
    admitted: int = 0

    def room(self, end: StreamEnd) -> float:
        """How many prompts may be admitted.

        Each prompt in flight is expected to give as many preferences as those that ended did.
        """
        now = self.progress
        missing = end.preferences - now.preferences
        if missing <= 0:
            return 0
        outstanding = now.in_flight + self.admitted
        per_prompt = (now.preferences + 1) / (now.ended + 1)
        room: float = math.ceil(missing / per_prompt) - outstanding
        if room < 1 and not outstanding:
            room = 1
        if end.most_admitted is not None:
            room = min(room, end.most_admitted - now.ended - outstanding)
        return max(0, room)


class UntilLimits:
    """Counts the streams that have an end; the counts are kept between admissions."""

    def __init__(self) -> None:
        self._counted: dict[str, _Counted] = {}

    def room(self, transaction: Transaction) -> UntilRoom:
        """The room of each stream in one transaction."""
        ends = stream_ends(transaction.ledger.connection)
        self._counted = {stream: one for stream, one in self._counted.items() if stream in ends}
        return UntilRoom(self, transaction, ends)

    def of(self, transaction: Transaction, stream: str) -> _Counted:
        """A stream, counted again if that is not too costly."""
        counted = self._counted.get(stream)
        started = time.monotonic()
        if counted is None or started >= counted.until_s:
            progress = progress_of(transaction.ledger.connection, stream)
            now = time.monotonic()
            counted = _Counted(progress, now + max(_EVERY_S, (now - started) / _SHARE))
            self._counted[stream] = counted
        return counted


class UntilRoom:
    """How many prompts of each stream may be admitted in one transaction."""

    def __init__(self, limits: UntilLimits, transaction: Transaction, ends: dict[str, StreamEnd]) -> None:
        self._limits = limits
        self._transaction = transaction
        self._ends = ends

    def of(self, stream: str, wanted: int) -> int:
        """How many of `wanted` prompts may be admitted now."""
        end = self._ends.get(stream)
        return wanted if end is None else int(min(wanted, self._limits.of(self._transaction, stream).room(end)))

    def take(self, stream: str, number: int) -> None:
        """Count prompts that were admitted."""
        if stream in self._ends:
            self._limits.of(self._transaction, stream).admitted += number
