"""Preferences of a growing store as they are resolved, each of them once."""

from __future__ import annotations

from collections.abc import Iterator

from karma_gateway.exports.reader import Exported, Reader

#: How late a resolution may become visible after the time that it bears: transactions overlap, clocks differ.
LATE_S = 60.0


class Tail:
    """The end of a store.

    Attributes:
        since: when the newest preference so far was resolved, seconds since 1970.
        recent: pairs that were resolved so shortly before that others may still become visible → when.
    """

    def __init__(self, reader: Reader, since: float, recent: dict[int, float] | None = None) -> None:
        self.since = since
        self.recent = dict(recent or {})
        self._reader = reader

    def __contains__(self, pair: int) -> bool:
        """Whether a pair is among the recent ones."""
        return pair in self.recent

    def add(self, pair: int, resolved_at: float) -> None:
        """Note a pair that was read, if it is a recent one."""
        if resolved_at >= self.since - LATE_S:
            self.recent[pair] = resolved_at

    def new(self) -> Iterator[Exported]:
        """The preferences that became visible since the last call, in the order of their pairs' ids."""
        yield from self._reader.read(since=self.since - LATE_S, known=self)
        self.since = max([self.since, *self.recent.values()])
        self.recent = {pair: at for pair, at in self.recent.items() if at >= self.since - LATE_S}
